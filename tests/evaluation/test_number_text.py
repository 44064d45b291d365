import math

import pytest

from monarch_sciml.evaluation.number_text import (
    integer_text,
    number_text,
    percent_text,
    seconds_text,
    spread_text,
)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (0.012345, "0.0123"),
        (1.0, "1.00"),
        (35.119, "35.1"),
        (-0.5, "-0.500"),
        (123456.0, "1.23e+05"),
        (2.5e-6, "2.50e-06"),
        (math.nan, "–"),
        (None, "–"),
        (math.inf, "inf"),
    ],
)
def test_number_text(value, text):
    assert number_text(value) == text


@pytest.mark.parametrize(
    ("mean", "spread", "text"),
    [
        (0.012344, 0.00041, "0.01234 ± 0.00041"),
        (36.25, 0.21, "36.25 ± 0.21"),
        (4.25e-4, 2.1e-5, "(4.25 ± 0.21)e-04"),
        (0.01, 3.0, "0.010 ± 3.000"),
        (0.5, 0.0, "0.500 ± 0.000"),
        (24.1, None, "24.10"),
        (250000.0, 1000.0, "(2.500 ± 0.010)e+05"),
    ],
)
def test_spread_text(mean, spread, text):
    assert spread_text(mean, spread) == text


def test_rounded_text_is_close_to_the_number():
    for mean in (1e-7, 3.3e-4, 0.0071, 0.99951, 12.0, 4321.0, 9.9e6):
        assert float(number_text(mean)) == pytest.approx(mean, rel=6e-3)


def test_other_units():
    assert percent_text(-47.123) == "-47.1 %"
    assert percent_text(250.4) == "+250 %"
    assert seconds_text(1.2345) == "1.23 s"
    assert seconds_text(600) == "10.0 min"
    assert seconds_text(7200 * 2) == "4.0 h"
    assert seconds_text(None) == "–"
    assert integer_text(1188353) == "1,188,353"
    assert integer_text(None) == "–"
