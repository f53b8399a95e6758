"""Round numbers for tables and reports by one rule, in Python and in SQL.

Round half away from zero, on the decimal number: 97.125 is 97.13 and 1.005 is 1.01, though the
float nearest to 1.005 is below it. The number is first rounded to eight more digits, because
the last bits of a mean depend on the order of the sum.
"""

from math import floor, isfinite

_GUARD = 8

SQL = f"round(round(value * pow(10, digits + {_GUARD})) / pow(10, {_GUARD})) / pow(10, digits)"
"""The same for DuckDB, whose round() goes half away from zero."""


def rounded(value: float, digits: int) -> float:
    """Round a value to `digits` digits after the point."""
    if not isfinite(value):
        return value
    return _whole(_whole(value * 10.0 ** (digits + _GUARD)) / 10.0**_GUARD) / 10.0**digits


def text(value: float, digits: int) -> str:
    """Return a value as text with `digits` digits after the point; never −0."""
    return f"{rounded(value, digits):z.{digits}f}"


def _whole(value: float) -> float:
    """Return the nearest whole number; round half away from zero."""
    if not isfinite(value):  # too large to round
        return value
    size = abs(value)
    below = float(floor(size))
    return (below + (size - below >= 0.5)) * (1 if value >= 0 else -1)
