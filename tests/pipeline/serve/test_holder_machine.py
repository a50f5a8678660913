"""The holder under any history of load, fail, swap, rollback, query, crash and restart: the seven invariants stand."""

from __future__ import annotations

import datetime as dt
import os
import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from tempfile import mkdtemp

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from pipeline.release.pointer import publish
from pipeline.serve.holder import Holder, Served
from pipeline.serve.slots import State
from pipeline.serve.turned_away import QueryExpired, SpaceMismatch
from reporting.errors import UsageError
from tests.pipeline.generations import BROKEN, CATEGORIES, QUERIES, contents, use_models


class Query:
    """One that runs: pinned, and asked step by step."""

    def __init__(self, block: AbstractContextManager[Served]) -> None:
        self.block = block
        self.served = block.__enter__()

    def end(self) -> None:
        self.block.__exit__(None, None, None)


class Serving(RuleBasedStateMachine):
    """A real holder over real files; the model beside it knows what was published and which of it is sound."""

    def __init__(self) -> None:
        super().__init__()
        self.home = Path(mkdtemp(prefix="funnelgate-test-machine-"))
        for path in contents().home.iterdir():
            if path.is_dir():
                (self.home / path.name).symlink_to(path)
            else:
                shutil.copy(path, self.home / path.name)
        self.now = dt.datetime(2026, 11, 1, tzinfo=dt.UTC)
        self.free = 1 << 40
        self.published: dict[int, str] = {}
        self.running: list[Query] = []
        self.draining: dict[int | None, dt.datetime] = {}
        self.activated: list[int] = []
        self.shared: set[str] = set()  # of what was loaded then, what the release that waits for room holds on to
        self.holder = self.started()

    def started(self) -> Holder:
        return Holder(self.home, now=lambda: self.now, free_bytes=lambda: self.free)

    def drop_queries(self) -> None:
        for query in self.running:
            with suppress(QueryExpired):
                query.end()
        self.running.clear()

    def teardown(self) -> None:
        self.drop_queries()
        shutil.rmtree(self.home)

    def is_sound(self, number: int) -> bool:
        return self.published[number] in contents().sound

    @initialize()
    def first(self) -> None:
        self.publish("a")
        assert self.refreshed() == "swapped"

    @rule(name=st.sampled_from("abcd"))
    def publish(self, name: str) -> None:
        self.published[publish(self.home, contents().sound[name]).number] = name

    @rule(name=st.sampled_from("abcd"))
    def bring_in(self, name: str) -> None:
        self.publish(name)
        self.refreshed()

    @rule(kind=st.sampled_from(BROKEN))
    def publish_a_broken_one(self, kind: str) -> None:
        self.published[publish(self.home, contents().broken[kind]).number] = kind

    @rule()
    def refresh(self) -> None:
        self.refreshed()

    def refreshed(self) -> str:
        before = self.holder.status().active
        loaded = self.loaded()
        busy = {slot.number for slot in self.holder.status().slots if slot.queries}
        done = self.holder.refresh()
        if done.outcome != "draining":
            self.shared = set()
        elif done.number is not None:
            self.shared |= self.files(done.number) & loaded
        slots = self.holder.status().slots
        self.draining = {
            slot.number: self.draining.get(slot.number, self.now) for slot in slots if slot.state is State.DRAINING
        } | {number: since for number, since in self.draining.items() if number in busy}
        for lost in busy - {slot.number for slot in slots}:
            assert self.now - self.draining[lost] >= dt.timedelta(seconds=30)  # I4: only by the deadline
        if done.outcome == "swapped":
            assert done.number is not None
            assert self.is_sound(done.number)  # I7
            self.activated.append(done.number)
            return done.outcome
        after = self.holder.status().active
        if before is None and after is not None:  # a first start on a broken release
            assert (done.outcome, after) == ("refused", max(self.published) - 1)
            self.activated.append(after)
        else:
            assert after == before
        return done.outcome

    @rule()
    def refresh_without_memory(self) -> None:
        loaded = self.loaded() | self.shared
        self.free = 0
        outcome = self.refreshed()
        self.free = 1 << 40
        if outcome == "swapped":  # I6: only what needed nothing
            assert self.files(self.activated[-1]) <= loaded

    def loaded(self) -> set[str]:
        numbers = {slot.number for slot in self.holder.status().slots}
        return set().union(*(self.files(number) for number in numbers if number in self.published))

    def files(self, number: int) -> set[str]:
        draft = contents().sound.get(self.published[number])
        return set() if draft is None else {entry.index_sha256 for entry in draft.categories.values()}

    @rule(seconds=st.sampled_from([1, 31, 61]))
    def pass_by(self, seconds: int) -> None:
        self.now += dt.timedelta(seconds=seconds)

    @rule()
    def roll_back(self) -> None:
        before = self.holder.status()
        if before.active is None or before.previous is None:
            with pytest.raises(UsageError):
                self.holder.rollback()
            return
        assert self.holder.rollback() == before.previous
        after = self.holder.status()
        assert (after.active, after.previous) == (before.previous, before.active)  # I5
        self.activated.append(before.previous)

    @precondition(lambda self: self.holder.is_ready)
    @rule(data=st.data(), space=st.sampled_from([None, "space-1", "space-2"]))
    def start_query(self, data: st.DataObject, space: str | None) -> None:
        status = self.holder.status()
        number = data.draw(st.sampled_from([None, status.active, status.previous]))
        spaces = {slot.number: set(slot.spaces.values()) for slot in status.slots}
        asked = [number] if number is not None else [status.active, status.previous]
        if space is not None and not any(space in spaces.get(one, ()) for one in asked):
            with pytest.raises(SpaceMismatch):
                self.holder.pin(number, space).__enter__()
            return
        query = Query(self.holder.pin(number, space))
        self.running.append(query)
        if number is None and (space is None or space in spaces[status.active]):
            categories = {slot.number: slot.spaces for slot in status.slots}
            before = {} if status.previous is None else categories[status.previous]
            left = [name for name in before if space == before[name] != categories[status.active][name]]
            newest = status.active is not None and status.active == max(filter(None, categories))
            assert query.served.number == (status.previous if left and newest else status.active)
        assert number is None or query.served.number == number
        assert space is None or space in query.served.spaces

    @precondition(lambda self: self.running)
    @rule(data=st.data(), row=st.integers(0, len(QUERIES) - 1), category=st.sampled_from(CATEGORIES))
    def step_query(self, data: st.DataObject, row: int, category: str) -> None:
        served = data.draw(st.sampled_from(self.running)).served
        answers = contents().answers[self.published[served.number]]
        for space in ("space-1", "space-2"):
            if (category, space) in answers:
                (found,) = served.generation.search_vectors(np.array(QUERIES[[row]]), (category,), 5, space)
                assert found == answers[category, space][row]  # I2: whatever was swapped since it began
            else:
                with pytest.raises(SpaceMismatch):  # I3
                    served.generation.search_vectors(QUERIES, (category,), 5, space)

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def end_query(self, data: st.DataObject) -> None:
        query = self.running.pop(data.draw(st.integers(0, len(self.running) - 1)))
        held = [slot.number for slot in self.holder.status().slots]
        if query.served.number in held:
            query.end()
        else:  # I4: its slot was emptied by the deadline
            with pytest.raises(QueryExpired):
                query.end()

    @rule()
    def crash_and_restart(self) -> None:
        self.drop_queries()
        self.draining.clear()
        self.activated.clear()
        self.holder = self.started()
        self.refresh()
        status = self.holder.status()
        newest = max(self.published)
        if self.is_sound(newest):
            assert status.active == newest  # on the new one
        elif self.is_sound(newest - 1):
            assert status.active == newest - 1  # or on the old one, never on neither
        else:
            assert status.active is None

    @invariant()
    def exactly_one_is_active(self) -> None:
        states = [slot.state for slot in self.holder.status().slots]
        assert states.count(State.ACTIVE) == bool(self.activated)  # I1
        assert State.LOADING not in states
        assert State.WARMING not in states

    @invariant()
    def no_query_has_lost_its_slot_but_by_the_deadline(self) -> None:
        slots = {slot.number: slot for slot in self.holder.status().slots}
        counted = sum(1 for query in self.running if query.served.number in slots)
        assert sum(slot.queries for slot in slots.values()) == counted  # I4

    @invariant()
    def only_sound_releases_are_held(self) -> None:
        for slot in self.holder.status().slots:
            assert slot.number is None or self.is_sound(slot.number)  # I7


@pytest.fixture
def models() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        use_models(patch)
        yield


@pytest.mark.parametrize("examples", [4, pytest.param(60, marks=pytest.mark.slow)])
def test_no_history_breaks_an_invariant(models: None, examples: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda _: None)  # nothing here asks what a power cut leaves
    run_state_machine_as_test(Serving, settings=settings(max_examples=examples, stateful_step_count=25, deadline=None))
