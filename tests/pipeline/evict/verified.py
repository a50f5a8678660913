"""A day of eviction and its proof, for the tests of verification: what is held may differ from what was decided."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pyarrow as pa

from pipeline.evict.audit import audit_table
from pipeline.evict.catalogue import HeldRow, catalogue_of
from pipeline.evict.days import day_number
from pipeline.evict.decide import decide
from pipeline.evict.decisions import Decisions
from pipeline.evict.policy import EvictPolicy
from pipeline.evict.stored import Stored
from pipeline.evict.stored_of import Names
from pipeline.evict.verify import Verification, second_pass, verify
from tests.pipeline.evict.live_rows import DAY, named
from tests.pipeline.evict.stored_rows import Picture

TODAY = day_number(DAY)


@dataclass(frozen=True)
class Evicted:
    """What one day's eviction left: the index holds what was kept and was in it before."""

    stored: Stored
    names: Names
    decisions: Decisions
    policy: EvictPolicy
    day: int

    @property
    def held(self) -> set[str]:
        rows = self.decisions.keep & self.stored.indexed
        return set(self.names.pictures.filter(pa.array(rows)).to_pylist())

    @property
    def audit(self) -> Any:
        return audit_table(self.stored, self.decisions, self.names)

    def held_rows(self, held: Collection[str]) -> list[HeldRow]:
        """Return each as an object of an index of its category, seen when it was."""
        rows = []
        for picture in sorted(held):
            known = self.names.ids_of([picture])
            name = self.stored.categories[int(self.stored.category[known[0]])] if len(known) else "shoes"
            rows.append(HeldRow(picture, name, DAY - timedelta(days=1)))
        return rows

    def verified(
        self,
        held: Collection[str] | None = None,
        audit: Any = None,
        *,
        again: bool = True,
        taken_down: Collection[str] = (),
        **options: Any,
    ) -> Verification:
        """Return the proof; of what the index should hold, unless told what it does."""
        held = self.held if held is None else held
        date = DAY + timedelta(days=self.day - TODAY)
        return verify(
            self.held_rows(held),
            catalogue_of(self.stored, self.names),
            self.policy,
            date,
            self.audit if audit is None else audit,
            taken_down=taken_down,
            goes_again=second_pass(self.stored, self.decisions, self.names, held, self.policy, date) if again else (),
            **options,
        )


def evicted(pictures: list[Picture], policy: EvictPolicy, day: int = TODAY) -> Evicted:
    """Decide about pictures. May raise TailFull."""
    stored, names = named(pictures)
    return Evicted(stored, names, decide(stored, policy, day), policy, day)


def broken(found: Verification) -> set[str]:
    """Return the guarantees that do not hold; their violations must say the same."""
    flags = {name for name in ("G1", "G2", "G3", "G4", "G5", "G6") if not getattr(found, name)}
    assert flags == {one.guarantee for one in found.violations}
    assert found.holds == (not flags)
    return flags
