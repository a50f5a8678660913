"""The spool against a list: two writers, restarts, torn lines, everything that may become of an entry."""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from reporting.outbox import Fate, Outcome
from tests.reporting.spools import EVERYTHING, fact, opened


class SpoolMachine(RuleBasedStateMachine):
    """A spool with two writers, restarts and tears against a list of what waits and a list of what is aside."""

    @initialize()
    def begin(self):
        self.directory = tempfile.TemporaryDirectory()
        self.folder = Path(self.directory.name)
        self.writers = [opened(self.folder, segment_bytes=400), opened(self.folder, segment_bytes=400)]
        self.waiting: list[str] = []
        self.aside: list[str] = []
        self.shipped = 0
        self.number = 0

    @rule(writer=st.integers(0, 1), sizes=st.lists(st.integers(0, 300), max_size=4))
    def append(self, writer, sizes):
        unit = [f"{self.number + place} {'x' * size}" for place, size in enumerate(sizes)]
        self.number += len(unit)
        self.writers[writer].append([fact(body) for body in unit])
        self.waiting += unit

    @rule(
        limit=st.integers(1, 8),
        fates=st.lists(
            st.sampled_from([Fate.DELIVERED, Fate.STALE, Fate.POISON, Fate.CONFLICT, Fate.RETRY]), min_size=8
        ),
        reader=st.integers(0, 1),
    )
    def ship(self, limit, fates, reader):
        entries = self.writers[reader].peek(limit, 10**9)
        assert len(entries) == min(limit, len(self.waiting))
        outcomes = [Outcome(entry, fate, "why") for entry, fate in zip(entries, fates, strict=False)]
        self.writers[reader].settle(outcomes)
        for outcome in outcomes:
            if outcome.fate is not Fate.RETRY:
                self.waiting.remove(outcome.entry.body)
            if outcome.fate in (Fate.DELIVERED, Fate.STALE):
                self.shipped += 1
            if outcome.fate in (Fate.POISON, Fate.CONFLICT):
                self.aside.append(outcome.entry.body)

    @precondition(lambda self: self.aside)
    @rule(writer=st.integers(0, 1))
    def revive(self, writer):
        assert self.writers[writer].revive() == len(self.aside)
        self.waiting += self.aside
        self.aside = []

    @rule(writer=st.integers(0, 1))
    def restart(self, writer):
        self.writers[writer].close()
        self.writers[writer] = opened(self.folder, segment_bytes=400)

    @rule(writer=st.integers(0, 1), part=st.binary(min_size=1, max_size=40))
    def die_while_writing(self, writer, part):
        spool = self.writers[writer]
        if spool._segment is not None:
            os.write(spool._segment._fd, part.replace(b"\n", b"-"))
        spool.close()
        self.writers[writer] = opened(self.folder, segment_bytes=400)

    @invariant()
    def agrees(self):
        entries = self.writers[0].peek(*EVERYTHING)
        assert Counter(entry.body for entry in entries) == Counter(self.waiting)
        assert len({entry.seq for entry in entries}) == len(entries)
        status = self.writers[1].status()
        assert (status.pending, status.quarantined) == (len(self.waiting), len(self.aside))
        assert status.shipped == self.shipped
        assert Counter(dead.entry.body for dead in self.writers[1].dead()) == Counter(self.aside)

    def teardown(self):
        for spool in self.writers:
            spool.close()
        self.directory.cleanup()


SpoolMachine.TestCase.settings = settings(max_examples=25, stateful_step_count=25, deadline=None)
TestSpoolAgainstAList = SpoolMachine.TestCase
