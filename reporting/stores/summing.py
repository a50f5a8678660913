"""Adding up measures by group, exactly: in which order the parts come, and from which store, never shows.

Counts and microseconds are whole numbers; metrics are kept one by one and added with a single rounding (`fsum`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from reporting.measures import Measure, amount_of, read_measure
from reporting.record import TaskRecord
from reporting.stores.base import Sums, check_parts

Group = tuple[str, ...]

_MICROSECONDS = 1_000_000


class Summing:
    """Collects what several reads of one query found.

    Args:
        by: parts of the key to group by.
        measures: names as in `reporting.measures`; results have their order.

    Raises:
        ConfigError: one of the measures is none.
        ValueError: `by` names what is no part of the key.
    """

    def __init__(self, by: Sequence[str], measures: Sequence[str]):
        check_parts(by)
        self.by = tuple(by)
        self.measures: tuple[Measure, ...] = tuple(read_measure(text) for text in measures)
        self._groups: dict[Group, _Sum] = {}

    def places(self, field: str) -> list[tuple[int, str]]:
        """Return the place and the name of the measures that are entries of a map of the record."""
        return [
            (place, one.name) for place, one in enumerate(self.measures) if one.field == field and one.name is not None
        ]

    def add_group(self, group: Group, records: int, amounts: Mapping[int, int]) -> None:
        """Add records that a store has counted.

        Args:
            group: of all of them.
            records: how many.
            amounts: place of a measure to its sum, in items or microseconds; every record holds the measure.
        """
        mine = self._of(group)
        mine.records += records
        for place, amount in amounts.items():
            mine.whole[place] += amount
            mine.counted[place] += records

    def add_entry(self, group: Group, place: int, amount: float) -> None:
        """Add one record's entry of a map; the record itself was counted before.

        Args:
            group: of the record.
            place: of the measure.
            amount: a metric, or the items of a reason or error class.
        """
        mine = self._of(group)
        if self.measures[place].is_count:
            mine.whole[place] += int(amount)
        else:
            mine.metrics.setdefault(place, []).append(float(amount))
            mine.counted[place] += 1

    def add_record(self, record: TaskRecord) -> None:
        """Add all of a record, under its own group."""
        group = tuple(str(getattr(record.key, part)) for part in self.by)
        self.add_amounts(group, [amount_of(record, measure) for measure in self.measures])

    def add_amounts(self, group: Group, amounts: Sequence[float | None]) -> None:
        """Add all of a record.

        Args:
            group: of the record.
            amounts: for each measure, as `reporting.measures.amount_of` has them.
        """
        held = [(place, amount) for place, amount in enumerate(amounts) if amount is not None]
        whole = {place: int(amount) for place, amount in held if self.measures[place].field != "metrics"}
        self.add_group(group, 1, whole)
        for place, amount in held:
            if place not in whole:
                self.add_entry(group, place, amount)

    def results(self) -> list[Sums]:
        """Return the sums, sorted by group."""
        return [
            Sums(group, one.records, tuple(self._values(one)), tuple(one.counted))
            for group, one in sorted(self._groups.items())
            if one.records
        ]

    def _of(self, group: Group) -> _Sum:
        found = self._groups.get(group)
        if found is None:
            found = self._groups[group] = _Sum(len(self.measures))
        return found

    def _values(self, one: _Sum) -> Iterable[float]:
        for place, measure in enumerate(self.measures):
            if measure.field == "metrics":
                yield _total(one.metrics.get(place, []))
            elif measure.field == "seconds":
                yield one.whole[place] / _MICROSECONDS
            else:
                yield float(one.whole[place])


class _Sum:
    """One group's."""

    __slots__ = ("counted", "metrics", "records", "whole")

    def __init__(self, measures: int):
        self.records = 0
        self.whole = [0] * measures
        self.counted = [0] * measures
        self.metrics: dict[int, list[float]] = {}


def sum_records(records: Iterable[TaskRecord], by: Sequence[str], measures: Sequence[str]) -> list[Sums]:
    """Add up records; see `RecordStore.sums`."""
    summing = Summing(by, measures)
    for record in records:
        summing.add_record(record)
    return summing.results()


def _total(values: Sequence[float]) -> float:
    """Return the sum with one rounding; beyond the largest float it is infinite, as sums in databases are."""
    try:
        return math.fsum(values)
    except OverflowError:
        return sum(values)
