import pytest

from monarch_sciml.data.scans.slices import middle, numbers, resolve


@pytest.mark.parametrize("n", [1, 2, 5, 6])
def test_the_middle_is_one_slice(n):
    assert [*numbers(middle, n)] == [n // 2]


def test_ways_to_name_slices():
    assert [*numbers(None, 3)] == [0, 1, 2] and [*numbers(slice(1, 9), 3)] == [1, 2]
    assert resolve(lambda n: slice(n - 1, n), 7) == slice(6, 7)
    assert [*numbers(slice(-2, None), 5)] == [3, 4]
