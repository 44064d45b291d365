"""Split a size into nearly equal factors: the block sizes of a Monarch matrix."""

from __future__ import annotations

import warnings
from functools import lru_cache

from monarch_sciml._checks import message, positive_int

_LOPSIDED_RATIO = 16
_warned: set[tuple[int, int]] = set()  # the (n, order) of the warnings given so far


def factorize(n: int, order: int = 2) -> tuple[int, ...]:
    r"""Split `n` into `order` factors as near to each other as possible.

    The factors N_1 <= … <= N_p are those of the smallest sum, because a Monarch matrix of these
    sizes holds n·(N_1 + … + N_p) numbers; for two factors they are the pair nearest sqrt(n).

    Parameters
    ----------
    n
        The size, at least 1.
    order
        Number of factors, at least 1.

    Returns
    -------
    `order` ints in ascending order whose product is `n`; some are 1 when `n` has too few primes.

    Raises
    ------
    TypeError, ValueError
        When `n` or `order` is no whole number or below 1.

    Examples
    --------
    >>> factorize(160), factorize(13), factorize(512, order=3)
    ((10, 16), (1, 13), (8, 8, 8))
    """
    n = positive_int("n", n)
    return _nearest_factors(n, positive_int("order", order), 1)


@lru_cache(maxsize=4096)
def _nearest_factors(n: int, order: int, minimum: int) -> tuple[int, ...]:
    """Return the ascending factors of smallest sum, each at least `minimum`; () if none."""
    if order == 1:
        return (n,) if n >= minimum else ()
    candidates = []
    smallest = minimum
    while smallest**order <= n:
        if n % smallest == 0:
            rest = _nearest_factors(n // smallest, order - 1, smallest)
            if rest:
                candidates.append((smallest, *rest))
        smallest += 1
    return min(candidates, key=sum, default=())


def is_lopsided(sizes: tuple[int, ...]) -> bool:
    """Return whether the factors are so unequal that the Monarch matrix is nearly dense."""
    if len(sizes) == 1:
        return False
    n = 1
    for size in sizes:
        n *= size
    trivial = min(sizes) == 1 and n > 3
    return trivial or min(sizes) * _LOPSIDED_RATIO < max(sizes)


def warn_if_lopsided(n: int, sizes: tuple[int, ...]) -> None:
    """Warn once per `n` and order that the factorisation is lopsided, with a size to pad to."""
    order = len(sizes)
    if (n, order) in _warned or not is_lopsided(sizes):
        return
    _warned.add((n, order))
    padded = n + 1
    while is_lopsided(factorize(padded, order)):
        padded += 1
    rule = f"a Monarch matrix of {n} points wants {order} factors near {n ** (1 / order):.0f}"
    got = " x ".join(map(str, sizes))
    better = " x ".join(map(str, factorize(padded, order)))
    remedy = f"It costs nearly as much as a dense matrix; pad to {padded} = {better} points."
    warnings.warn(message(rule, got, remedy), UserWarning, stacklevel=4)


def block_counts(n_blocks: int | tuple[int, int]) -> tuple[int, int]:
    """Return the numbers of blocks (k, l) from such a pair or from one int b that stands for (b,
    b).
    """
    if not isinstance(n_blocks, (tuple, list)):
        count = positive_int("n_blocks", n_blocks)
        return count, count
    if len(n_blocks) != 2:
        remedy = "Pass (blocks of `right`, blocks of `left`)."
        raise ValueError(message("`n_blocks` must be one int or two", n_blocks, remedy))
    return positive_int("n_blocks[0]", n_blocks[0]), positive_int("n_blocks[1]", n_blocks[1])


def square_block_counts(n_blocks: int | tuple[int, int], n: int) -> tuple[int, int]:
    """Return (k, l) with k*l = n from such a pair or from one int k that stands for (k, n/k)."""
    if isinstance(n_blocks, (tuple, list)):
        n_right, n_left = block_counts(n_blocks)
        if n_right * n_left != n:
            rule = f"the two numbers of `n_blocks` must multiply to {n}"
            remedy = "Pass one int and the other follows."
            raise ValueError(message(rule, f"{n_right}*{n_left}", remedy))
        return n_right, n_left
    n_right = positive_int("n_blocks", n_blocks)
    if n % n_right:
        rule = f"`n_blocks` must divide the size {n}"
        raise ValueError(message(rule, n_right, "Pick a divisor."))
    return n_right, n // n_right
