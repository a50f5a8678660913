"""Days as numbers, so that 20 million of them are one array: counted from 1970-01-01, as Arrow's `date32`."""

from __future__ import annotations

from datetime import date as Date

_EPOCH = Date(1970, 1, 1).toordinal()


def day_number(day: Date) -> int:
    """Return the number of a day.

    Example:
        >>> day_number(Date(1970, 1, 2)), day_number(Date(2026, 11, 23))
        (1, 20780)
    """
    return day.toordinal() - _EPOCH
