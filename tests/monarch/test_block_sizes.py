from __future__ import annotations

from itertools import combinations_with_replacement
from math import prod

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monarch_sciml.monarch import factorize


@pytest.mark.parametrize(
    ("n", "order", "expected"),
    [
        (1, 2, (1, 1)),
        (13, 2, (1, 13)),
        (160, 2, (10, 16)),
        (218, 2, (2, 109)),
        (512, 2, (16, 32)),
        (512, 3, (8, 8, 8)),
        (7, 1, (7,)),
        (6, 3, (1, 2, 3)),
        (1000, 3, (10, 10, 10)),
        (2**40, 4, (1024,) * 4),
    ],
)
def test_known_factors(n, order, expected):
    assert factorize(n, order) == expected


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 150), st.integers(1, 4))
def test_no_other_factors_have_a_smaller_sum(n, order):
    sizes = factorize(n, order)
    assert len(sizes) == order
    assert prod(sizes) == n
    assert list(sizes) == sorted(sizes)
    divisors = [d for d in range(1, n + 1) if n % d == 0]
    others = combinations_with_replacement(divisors, order)
    assert sum(sizes) == min(sum(other) for other in others if prod(other) == n)


@pytest.mark.parametrize("n", range(1, 200))
def test_two_factors_are_the_pair_nearest_the_root(n):
    assert factorize(n)[0] == max(d for d in range(1, n + 1) if n % d == 0 and d * d <= n)


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match="`n` must be at least 1, got 0"):
        factorize(0)
    with pytest.raises(TypeError, match=r"`n` must be an int, got 2\.5"):
        factorize(2.5)
    with pytest.raises(ValueError, match="`order` must be at least 1, got 0"):
        factorize(4, 0)
