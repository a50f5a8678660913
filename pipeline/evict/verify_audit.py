"""G6: every stored picture has exactly one row of audit, with a reason that the rule can give it and that came true."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.evict.audit import FILE, LABELS
from pipeline.evict.catalogue import Record
from pipeline.evict.decisions import Reason
from pipeline.evict.policy import EvictPolicy
from pipeline.evict.stored import NEVER
from pipeline.evict.verify_rules import Broken

_BY_RANK = (Reason.REPRESENTATIVE, Reason.MARKED, Reason.SUPERSEDED, Reason.OVER_BUDGET)
_GOES_BY_RANK = (Reason.SUPERSEDED, Reason.OVER_BUDGET)
_ANY_BY_RANK = -1
_UNKNOWN = -2


@dataclass(frozen=True, eq=False)
class _Lines:
    """Those lines of audit that are about a picture of the record, k of them; each array (k,).

    Attributes:
        numbers: Of the lines in the audit.
        rows: Pictures of the record.
        reason, why: `Reason`, `_UNKNOWN` where it is none.
        marked_on: Days, NEVER where there is none.
    """

    record: Record
    audit: Any
    numbers: NDArray[np.int64]
    rows: NDArray[np.int64]
    reason: NDArray[np.int64]
    why: NDArray[np.int64]
    keep: NDArray[np.bool_]
    rank: NDArray[np.int64]
    marked_on: NDArray[np.int64]

    def broken(self, wrong: NDArray[np.bool_], say: Callable[[int], str]) -> Broken:
        """Return the lines that are wrong, with what is said of each."""

        def tell(at: int) -> tuple[str, str, str]:
            return self.record.picture(self.rows[at]), f"{FILE}, row {self.numbers[at]}", say(at)

        return Broken("G6", np.flatnonzero(wrong), tell)

    def of(self, name: str, at: int) -> Any:
        """Return what a line says, for messages."""
        return self.audit[name][int(self.numbers[at])].as_py()


def broken_audit(record: Record, policy: EvictPolicy, day: int, audit: Any) -> list[Broken]:
    """Return every way in which G6 is broken.

    Args:
        record: Catalogue and what is held.
        policy: By which it was decided.
        day: Number of the day.
        audit: `audit_schema`, checked.
    """
    places = record.places.rows_of(audit["picture"])
    known = places >= 0
    rows = places[known]
    count = np.bincount(rows, minlength=len(record.pictures))
    lines = _lines(record, audit, np.flatnonzero(known), rows)

    def tell_count(row: int) -> tuple[str, str, str]:
        return record.picture(row), FILE, f"has {count[row]} rows of audit, expected 1"

    def tell_stranger(line: int) -> tuple[str, str, str]:
        return str(audit["picture"][line].as_py()), f"{FILE}, row {line}", "has a row of audit, and was not stored"

    return [
        Broken("G6", np.flatnonzero(count != 1), tell_count),
        Broken("G6", np.flatnonzero(~known), tell_stranger),
        *_reasons(lines, _expected(record, policy, day)[rows]),
        *_ranks_and_marks(lines, policy, day),
    ]


def _lines(record: Record, audit: Any, numbers: NDArray[np.int64], rows: NDArray[np.int64]) -> _Lines:
    import pyarrow as pa
    import pyarrow.compute as pc

    marks = pc.fill_null(audit["marked_on"].cast(pa.int32()), int(NEVER))
    return _Lines(
        record,
        audit,
        numbers,
        rows,
        reason=_codes(audit["reason"])[numbers],
        why=_codes(audit["why"])[numbers],
        keep=np.asarray(audit["keep"], np.bool_)[numbers],
        rank=np.asarray(audit["rank"], np.int64)[numbers],
        marked_on=np.asarray(marks, np.int64)[numbers],
    )


def _reasons(lines: _Lines, expected: NDArray[np.int64]) -> list[Broken]:
    """Judge reasons against the facts, and whether they came true."""
    held, indexed = lines.record.held[lines.rows], lines.record.indexed[lines.rows]
    possible = np.where(expected == _ANY_BY_RANK, np.isin(lines.reason, _BY_RANK), lines.reason == expected)
    stays = (lines.reason >= 0) & (lines.reason < Reason.TAKEDOWN)
    # What was in no index before may stay without being in one now.
    came_true = np.where(indexed, lines.keep == held, lines.keep | ~held)
    causes = np.where(lines.reason == Reason.MARKED, np.isin(lines.why, _GOES_BY_RANK), lines.why == lines.reason)

    def says(name: str, at: int) -> str:
        return f"{name} is {lines.of(name, at)!r}, which its reason {lines.of('reason', at)!r} does not say"

    return [
        lines.broken(
            ~possible, lambda at: f"reason is {lines.of('reason', at)!r}, expected {_said(int(expected[at]))}"
        ),
        lines.broken(possible & (lines.keep != stays), lambda at: says("keep", at)),
        lines.broken(
            ~came_true,
            lambda at: (
                f"keep is {lines.of('keep', at)}, and the index {'holds it' if held[at] else 'does not hold it'}"
            ),
        ),
        lines.broken(possible & ~causes, lambda at: says("why", at)),
    ]


def _ranks_and_marks(lines: _Lines, policy: EvictPolicy, day: int) -> list[Broken]:
    """Judge what is decided by rank: the rank, since when it is marked, and what is better."""
    before = lines.record.marked_on[lines.rows]
    goes = np.isin(lines.why, _GOES_BY_RANK)
    fits = (lines.rank >= 1) & (lines.rank <= policy.cap)
    misplaced = (lines.why == Reason.REPRESENTATIVE) & ~fits
    misplaced |= (lines.why == Reason.SUPERSEDED) & (lines.rank <= policy.cap)
    misplaced |= (lines.why == Reason.OVER_BUDGET) & ~(fits & (lines.rank > 1))
    dated = np.where(goes, lines.marked_on == np.minimum(before, day), lines.marked_on == NEVER)
    dated &= ~goes | ((lines.marked_on < day) == (lines.reason != Reason.MARKED))
    better = _held(lines.record, lines.audit["better"])[lines.numbers]

    def tell_mark(at: int) -> str:
        return (
            f"marked_on is {_day(lines.marked_on[at])} and reason {lines.of('reason', at)!r}, the catalogue has "
            f"it marked on {_day(before[at])}"
        )

    return [
        lines.broken(
            misplaced, lambda at: f"rank {lines.rank[at]} is none for {lines.of('why', at)!r} (cap {policy.cap})"
        ),
        lines.broken(~dated, tell_mark),
        lines.broken(goes & ~better, lambda at: f"better is {lines.of('better', at)}, which is not held"),
    ]


def _held(record: Record, pictures: Any) -> NDArray[np.bool_]:
    """Tell of each name whether it is that of a picture that is held."""
    import pyarrow as pa

    named = np.flatnonzero(np.asarray(pictures.is_valid(), np.bool_))
    rows = record.places.rows_of(pictures.take(pa.array(named)))
    found = np.zeros(len(pictures), np.bool_)
    found[named] = (rows >= 0) & record.held[rows]
    return found


def _expected(record: Record, policy: EvictPolicy, day: int) -> NDArray[np.int64]:
    """Return the reason that the facts alone give each picture, (n,); `_ANY_BY_RANK` where its rank decides."""
    found = np.full(len(record.pictures), _ANY_BY_RANK, np.int64)
    found[~record.indexed] = Reason.NOT_INDEXED
    found[record.pinned] = Reason.PINNED
    found[record.window] = Reason.WINDOW
    found[record.gone] = Reason.GONE_LATELY
    found[record.gone & (day - record.gone_since.astype(np.int64) > policy.delist_days)] = Reason.DELISTED
    found[record.gone & record.pinned] = Reason.PINNED
    found[record.taken_down] = Reason.TAKEDOWN
    return found


def _codes(labels: Any) -> NDArray[np.int64]:
    """Return the reasons behind labels, `_UNKNOWN` where it is none."""
    import pyarrow as pa
    import pyarrow.compute as pc

    places = pc.index_in(labels, value_set=pa.array(list(LABELS), labels.type))
    numbers = np.array([*LABELS.values(), _UNKNOWN], np.int64)
    return numbers[np.asarray(pc.fill_null(places, len(LABELS)), np.int64)]


def _said(expected: int) -> str:
    if expected == _ANY_BY_RANK:
        return "one of " + ", ".join(reason.label for reason in _BY_RANK)
    return repr(Reason(expected).label)


def _day(number: int) -> str:
    return "never" if number == NEVER else str(np.datetime64(int(number), "D"))
