"""Numbers as tables and reports show them: one rule, in Python and in SQL.

Half away from zero, of the decimal number: 97.125 is 97.13 and 1.005 is 1.01, though the float
nearest to 1.005 is below it. Eight digits past the last one shown are looked at, so that the last
bits of a mean, which depend on the order of a sum, change nothing.
"""

from math import floor, isfinite

_GUARD = 8

SQL = f"round(round(value * pow(10, digits + {_GUARD})) / pow(10, {_GUARD})) / pow(10, digits)"
"""The same for DuckDB, whose round() goes half away from zero."""


def rounded(value: float, digits: int) -> float:
    """The value with so many digits after the point."""
    if not isfinite(value):
        return value
    return _whole(_whole(value * 10.0 ** (digits + _GUARD)) / 10.0**_GUARD) / 10.0**digits


def text(value: float, digits: int) -> str:
    """The value with so many digits after the point, as text; never −0."""
    return f"{rounded(value, digits):z.{digits}f}"


def _whole(value: float) -> float:
    """The nearest whole number, half away from zero."""
    if not isfinite(value):  # too large to have digits after the point
        return value
    size = abs(value)
    below = float(floor(size))
    return (below + (size - below >= 0.5)) * (1 if value >= 0 else -1)
