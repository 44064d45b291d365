"""Numbers as text with as many digits as their spread supports."""

from __future__ import annotations

import math

MISSING = "–"


def number_text(value: float | None, *, digits: int = 3) -> str:
    """Return `value` to `digits` significant digits, with an exponent outside 1e-3 … 1e5."""
    if value is None or not math.isfinite(value):
        return MISSING if value is None or math.isnan(value) else str(value)
    if value == 0:
        return "0"
    exponent = math.floor(math.log10(abs(value)))
    if not -3 <= exponent < 5:
        return f"{value:.{digits - 1}e}"
    return f"{value:.{max(0, digits - 1 - exponent)}f}"


def spread_text(mean: float, spread: float | None, *, digits: int = 3) -> str:
    """Return "mean ± spread", both to two digits of the spread; four digits without a spread.

    Examples
    --------
    >>> spread_text(0.012344, 0.00041)
    '0.01234 ± 0.00041'
    >>> spread_text(1.2345e-5, 3.1e-6)
    '(1.23 ± 0.31)e-05'
    """
    if spread is None:
        return number_text(mean, digits=digits + 1)
    exponent = math.floor(math.log10(abs(mean))) if mean else 0
    shift = 0 if -3 <= exponent < 5 else exponent
    decimals = digits - 1 - exponent + shift
    if spread > 0:
        decimals = max(1 - math.floor(math.log10(spread)) + shift, 1 - exponent + shift)
    decimals = min(max(decimals, 0), 8)
    scale = 10.0**shift
    text = f"{mean / scale:.{decimals}f} ± {spread / scale:.{decimals}f}"
    return f"({text})e{shift:+03d}" if shift else text


def percent_text(value: float) -> str:
    """Return a signed percentage: one decimal place below 100 %, none above."""
    return f"{value:+.1f} %" if abs(value) < 100 else f"{value:+.0f} %"


def seconds_text(value: float | None) -> str:
    """Return a duration in seconds, or in minutes and hours if it is long."""
    if value is None or not math.isfinite(value):
        return MISSING
    if value < 120:
        return f"{number_text(value)} s"
    if value < 7200:
        return f"{value / 60:.1f} min"
    return f"{value / 3600:.1f} h"


def integer_text(value: int | None) -> str:
    """Return a whole number with thousands separated by commas."""
    return MISSING if value is None else f"{value:,}"
