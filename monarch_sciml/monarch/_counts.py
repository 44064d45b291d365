"""Read the argument `n_blocks`: one int, or the pair (blocks of `right`, blocks of `left`)."""

from __future__ import annotations

from monarch_sciml._checks import message, positive_int


def block_counts(n_blocks: int | tuple[int, int]) -> tuple[int, int]:
    """Return (k, l); one int b stands for (b, b)."""
    if not isinstance(n_blocks, (tuple, list)):
        count = positive_int("n_blocks", n_blocks)
        return count, count
    if len(n_blocks) != 2:
        remedy = "Pass (blocks of `right`, blocks of `left`)."
        raise ValueError(message("`n_blocks` must be one int or two", n_blocks, remedy))
    return positive_int("n_blocks[0]", n_blocks[0]), positive_int("n_blocks[1]", n_blocks[1])


def square_block_counts(n_blocks: int | tuple[int, int], n: int) -> tuple[int, int]:
    """Return (k, l) with k*l = n; one int k stands for (k, n/k)."""
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
