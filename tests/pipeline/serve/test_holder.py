"""A server's two generations: what is broken is never let in, what serves goes on, and a query sees one of them."""

from __future__ import annotations

import datetime as dt
import os
from contextlib import ExitStack
from pathlib import Path

import pytest

from pipeline.release.manifest import DayRows
from pipeline.release.pointer import POINTER, publish
from pipeline.serve.holder import Holder
from pipeline.serve.slots import State
from pipeline.serve.turned_away import NotReady, QueryExpired, SpaceMismatch, UnknownGeneration
from reporting.errors import UsageError
from tests.pipeline.generations import QUERIES, contents, home_in, use_models


class Clock:
    """Aware UTC, moved by hand."""

    def __init__(self) -> None:
        self.now = dt.datetime(2026, 11, 1, tzinfo=dt.UTC)

    def __call__(self) -> dt.datetime:
        return self.now

    def pass_by(self, seconds: float) -> None:
        self.now += dt.timedelta(seconds=seconds)


@pytest.fixture(autouse=True)
def models(monkeypatch: pytest.MonkeyPatch) -> None:
    use_models(monkeypatch)
    monkeypatch.setattr(os, "fsync", lambda _: None)  # nothing here asks what a power cut leaves


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return home_in(tmp_path)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def holder(home: Path, clock: Clock) -> Holder:
    """Serves `a` as release 1."""
    publish(home, contents().sound["a"])
    found = Holder(home, now=clock, free_bytes=lambda: None)
    assert found.refresh().outcome == "swapped"
    return found


def asked(holder: Holder, category: str, space: str, generation: int | None = None) -> tuple[int, object]:
    with holder.pin(generation, space) as served:
        return served.number, served.generation.search_vectors(QUERIES, (category,), 5, space)


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("truncated", "truncated.faiss"),
        ("flipped", "flipped.faiss"),
        ("exchanged", "is damaged or was exchanged"),
        ("missing", "missing.faiss"),
        ("outside", "../outside.faiss"),
        ("no index", "faiss cannot read"),
        ("foreign items", "do not belong together"),
        ("other count", "the manifest 119"),
        ("another model", "space-9"),
        ("golden of another", "golden queries"),
        ("exchanged golden", "is damaged or was exchanged"),
        ("unknown re-ranker", "nobody's"),
        ("shuffled", "do not find themselves"),
    ],
)
def test_a_broken_release_is_refused_with_the_reason_and_the_old_one_serves_on(
    home: Path, holder: Holder, kind: str, said: str
) -> None:
    before = asked(holder, "blue", "space-1")
    publish(home, contents().broken[kind])
    done = holder.refresh()
    assert (done.outcome, done.number) == ("refused", 2)
    assert said in done.reason
    status = holder.status()
    assert (status.active, status.last) == (1, 1)
    assert status.refused is not None
    assert said in status.refused.reason
    assert asked(holder, "blue", "space-1") == before == (1, contents().answers["a"]["blue", "space-1"])
    publish(home, contents().sound["b"])
    assert holder.refresh().outcome == "swapped"  # a sound one is let in after it
    assert holder.status().refused is None
    assert asked(holder, "blue", "space-1") == (3, contents().answers["b"]["blue", "space-1"])


def test_a_broken_release_does_not_cost_the_generation_to_go_back_to(home: Path, holder: Holder) -> None:
    publish(home, contents().sound["b"])
    holder.refresh()
    publish(home, contents().broken["truncated"])
    assert holder.refresh().outcome == "refused"
    assert holder.rollback() == 1


def test_a_release_that_was_mended_is_let_in_after_a_while(home: Path, holder: Holder, clock: Clock) -> None:
    publish(home, contents().broken["truncated"])
    holder.refresh()
    (home / "truncated.faiss").unlink()  # it is a link to every other test's
    (home / "truncated.faiss").write_bytes((home / contents().sound["a"].categories["blue"].index_path).read_bytes())
    assert holder.refresh().outcome == "refused"  # it is not read again with every poll
    clock.pass_by(61)
    assert (holder.refresh().outcome, holder.status().active) == ("swapped", 2)


def test_a_pointer_that_went_back_is_refused(home: Path, holder: Holder) -> None:
    old = (home / POINTER).read_bytes()
    publish(home, contents().sound["b"])
    holder.refresh()
    (home / POINTER).write_bytes(old)
    done = holder.refresh()
    assert (done.outcome, holder.status().active) == ("refused", 2)
    assert "release 1 is older than 2" in done.reason


def test_a_pointer_that_is_none_is_refused_and_named(home: Path, holder: Holder) -> None:
    (home / POINTER).write_text("2")
    done = holder.refresh()
    assert (done.outcome, holder.status().active) == ("refused", 1)
    assert str(home / POINTER) in done.reason


def test_nothing_is_loaded_that_memory_has_no_room_for(home: Path, clock: Clock) -> None:
    free: list[int] = [1 << 30]
    holder = Holder(home, now=clock, free_bytes=lambda: free[0])
    sound = contents().sound
    publish(home, sound["a"])
    holder.refresh()
    publish(home, sound["b"])
    needed = sum((home / path).stat().st_size for path in _files(sound["b"]) - _files(sound["a"]))
    free[0] = int(needed * 1.1) - 1
    done = holder.refresh()
    assert (done.outcome, holder.status().active) == ("refused", 1)
    assert "bytes of memory" in done.reason
    clock.pass_by(61)
    free[0] += 2
    assert holder.refresh().outcome == "swapped"


def test_a_release_without_room_does_not_cost_the_generation_to_go_back_to(home: Path, clock: Clock) -> None:
    free: list[int] = [1 << 30]
    holder = Holder(home, now=clock, free_bytes=lambda: free[0])
    sound = contents().sound
    for name in ("a", "d"):
        publish(home, sound[name])
        assert holder.refresh().outcome == "swapped"
    with holder.pin(1) as before:
        freed = sum(shelf.items.size_bytes for shelf in before.generation.shelves.values())
    publish(home, sound["b"])  # red is that of release 1, and stays in memory
    with holder.pin(1) as before:
        freed -= before.generation.shelves["red"].items.size_bytes
    needed = sum((home / path).stat().st_size for path in _files(sound["b"]) - _files(sound["a"]))
    free[0] = int(needed * 1.1) - freed - 1
    assert free[0] > 0
    assert holder.refresh().outcome == "refused"
    assert (holder.status().previous, holder.rollback(), holder.rollback()) == (1, 1, 2)
    clock.pass_by(61)
    free[0] += 2
    assert holder.refresh().outcome == "swapped"  # what release 1 gives back makes up for the rest


def test_a_release_that_could_have_golden_queries_and_has_none_is_let_in_only_where_that_is_allowed(
    home: Path, holder: Holder, clock: Clock
) -> None:
    sound = contents().sound["b"]
    nothing = {"golden_path": None, "golden_sha256": None}
    day = DayRows(shard_path="shards/x", shard_sha256="0" * 64, rows=120, rows_sha256="0" * 64)
    noted = {
        name: entry.model_copy(update={"days": {clock.now.date(): day}}) for name, entry in sound.categories.items()
    }
    assert [slot.golden for slot in holder.status().slots] == [True, None]
    publish(home, sound.model_copy(update=nothing | {"categories": noted}))
    done = holder.refresh()
    assert (done.outcome, holder.status().active) == ("refused", 1)
    assert "no golden queries" in done.reason
    careless = Holder(home, now=clock, free_bytes=lambda: None, allow_without_golden=True)
    assert careless.refresh().outcome == "swapped"
    publish(home, sound.model_copy(update=nothing))  # of before there were any
    assert holder.refresh().outcome == "swapped"
    assert [slot.golden for slot in holder.status().slots] == [True, False]


def _files(draft: object) -> set[str]:
    categories = getattr(draft, "categories").values()  # noqa: B009
    return {path for entry in categories for path in (entry.index_path, entry.items_path)}


def test_what_did_not_change_is_shared_and_only_the_rest_is_loaded(home: Path, holder: Holder) -> None:
    with holder.pin() as before:
        publish(home, contents().sound["b"])
        holder.refresh()
        with holder.pin() as after:
            assert after.generation.shelves["red"].index is before.generation.shelves["red"].index
            assert after.generation.shelves["blue"].index is not before.generation.shelves["blue"].index


def test_a_query_stays_on_its_generation_through_swaps(home: Path, holder: Holder) -> None:
    answers = contents().answers
    with holder.pin() as served:
        for name in ("b", "d"):
            publish(home, contents().sound[name])
            holder.refresh()
            assert served.generation.search_vectors(QUERIES, ("blue",), 5, "space-1") == answers["a"]["blue", "space-1"]
        assert holder.status().active == 2  # release 3 waits: its slot is the query's
        assert holder.refresh().outcome == "draining"
    assert (holder.refresh().outcome, holder.status().active) == ("swapped", 3)


def test_a_query_beyond_the_deadline_fails_and_holds_nothing_up(home: Path, holder: Holder, clock: Clock) -> None:
    query = ExitStack()
    served = query.enter_context(holder.pin())
    for name in ("b", "d"):
        publish(home, contents().sound[name])
        holder.refresh()
    clock.pass_by(29)
    assert holder.refresh().outcome == "draining"
    clock.pass_by(2)
    assert holder.refresh().outcome == "swapped"
    assert served.generation.search_vectors(QUERIES, ("blue",), 1, "space-1")  # never a use after free
    with pytest.raises(QueryExpired, match="generation 1"):
        query.close()
    assert [slot.queries for slot in holder.status().slots] == [0, 0]


def test_both_generations_answer_their_own_space_while_a_model_changes(home: Path, holder: Holder) -> None:
    publish(home, contents().sound["d"])
    holder.refresh()
    answers = contents().answers
    assert asked(holder, "red", "space-2") == (2, answers["d"]["red", "space-2"])
    assert asked(holder, "red", "space-1") == (1, answers["a"]["red", "space-1"])
    assert asked(holder, "red", "space-1", 1) == (1, answers["a"]["red", "space-1"])
    with pytest.raises(SpaceMismatch) as refused, holder.pin(2, "space-1"):
        pass
    assert (refused.value.found, refused.value.expected) == ("space-1", ("space-2",))
    with pytest.raises(SpaceMismatch) as refused, holder.pin(None, "space-9"):
        pass
    assert (refused.value.found, refused.value.expected) == ("space-9", ("space-1", "space-2"))
    with pytest.raises(UnknownGeneration) as unknown, holder.pin(7):
        pass
    assert (unknown.value.found, unknown.value.held) == (7, (1, 2))
    assert [slot.queries for slot in holder.status().slots] == [0, 0]


def test_one_category_of_another_model_is_never_asked_across_spaces(home: Path, holder: Holder) -> None:
    publish(home, contents().sound["c"])
    holder.refresh()
    with holder.pin(2, "space-1") as served:
        with pytest.raises(SpaceMismatch, match="'blue' answers in 'space-2'"):
            served.generation.search_vectors(QUERIES, ("blue",), 5, "space-1")
        everywhere = served.generation.search_vectors(QUERIES, None, 5, "space-1")
        assert everywhere == contents().answers["c"]["red", "space-1"]


def test_no_category_is_lost_to_old_clients_while_one_of_them_changes_its_model(home: Path, holder: Holder) -> None:
    publish(home, contents().sound["c"])  # blue is of space-2 now, red as before
    holder.refresh()
    asked_for = {
        ("space-1", "blue"): 1,
        ("space-1", "red"): 2,
        ("space-2", "blue"): 2,
        ("space-1", None): 1,
        ("space-2", None): 2,
    }
    for (space, category), number in asked_for.items():
        with holder.pin(None, space, category) as served:
            assert (space, category, served.number) == (space, category, number)
    with pytest.raises(SpaceMismatch) as refused, holder.pin(None, "space-2", "red"):
        pass
    assert (refused.value.found, refused.value.expected) == ("space-2", ("space-1",))
    with holder.pin(None, "space-1", "no such category") as served:
        assert served.number == 2  # the search names the nearest
    assert holder.rollback() == 1
    with holder.pin(None, "space-1") as served:
        assert served.number == 1


def test_a_release_that_was_rolled_back_from_does_not_answer_for_the_one_that_did(home: Path, clock: Clock) -> None:
    holder = Holder(home, now=clock, free_bytes=lambda: None)
    for name in ("c", "d", "c"):
        more = {"rollback_to": 1} if holder.status().active == 2 else {}
        publish(home, contents().sound[name].model_copy(update=more))
        holder.refresh()
    with holder.pin(None, "space-2") as served:  # red was of space-2 in release 2 only
        assert served.number == 3
    assert holder.status().previous == 2


def test_a_rollback_is_at_once_and_no_poll_takes_it_back(home: Path, holder: Holder) -> None:
    with pytest.raises(UsageError, match="no other generation"):
        holder.rollback()
    publish(home, contents().sound["b"])
    holder.refresh()
    assert holder.rollback() == 1
    assert holder.refresh().outcome == "unchanged"
    assert asked(holder, "blue", "space-1") == (1, contents().answers["a"]["blue", "space-1"])
    publish(home, contents().sound["c"])
    assert (holder.refresh().outcome, holder.status().active) == ("swapped", 3)
    assert holder.status().previous == 1  # the one rolled back from made room


def test_a_rollback_that_was_published_shares_everything_and_has_a_higher_number(home: Path, holder: Holder) -> None:
    for content in ("b", "a"):
        publish(home, contents().sound[content])
        assert holder.refresh().outcome == "swapped"
    with holder.pin() as now, holder.pin(2) as before:
        assert now.number == 3
        assert now.generation.shelves["red"].index is before.generation.shelves["red"].index
    assert asked(holder, "blue", "space-1") == (3, contents().answers["a"]["blue", "space-1"])


def test_without_a_release_there_is_no_answer(home: Path) -> None:
    holder = Holder(home)
    with pytest.raises(NotReady, match="no generation serves yet"), holder.pin():
        pass
    assert (holder.refresh().outcome, holder.is_ready) == ("nothing", False)
    publish(home, contents().broken["truncated"])
    assert (holder.refresh().outcome, holder.is_ready) == ("refused", False)
    with pytest.raises(NotReady, match=r"truncated\.faiss"), holder.pin():
        pass


def test_a_start_with_a_broken_release_serves_the_one_before_and_says_so(home: Path, clock: Clock) -> None:
    publish(home, contents().sound["a"])
    publish(home, contents().broken["flipped"])
    holder = Holder(home, now=clock)
    assert holder.refresh().outcome == "refused"
    status = holder.status()
    assert status.active == 1
    assert status.refused is not None
    assert status.refused.number == 2
    assert holder.refresh().outcome == "refused"
    publish(home, contents().sound["b"])
    assert (holder.refresh().outcome, holder.status().active) == ("swapped", 3)


def test_the_status_tells_both_slots(home: Path, holder: Holder) -> None:
    publish(home, contents().sound["c"])
    holder.refresh()
    with holder.pin(1):
        first, second = holder.status().slots
    assert (first.state, first.number, first.queries, first.spaces["blue"]) == (State.READY, 1, 1, "space-1")
    assert (second.state, second.number, second.queries, second.spaces["blue"]) == (State.ACTIVE, 2, 0, "space-2")
    assert second.rows == {"blue": 120, "red": 120}


def test_a_pointer_that_cannot_be_read_is_a_refusal_and_the_old_release_serves_on(home: Path, holder: Holder) -> None:
    before = (home / POINTER).read_bytes()
    (home / POINTER).unlink()
    (home / POINTER).mkdir()
    done = holder.refresh()
    assert (done.outcome, done.number) == ("refused", None)
    assert "IsADirectoryError" in done.reason
    assert holder.is_ready
    (home / POINTER).rmdir()
    (home / POINTER).write_bytes(before)
    assert holder.refresh().outcome == "unchanged"


@pytest.mark.parametrize("step", ["verify_release", "open_release", "warm"])
def test_whatever_loading_raises_is_a_refusal(
    home: Path, holder: Holder, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise KeyError("a kind that nobody caught")

    monkeypatch.setattr(f"pipeline.serve.holder.{step}", fail)
    publish(home, contents().sound["b"])
    done = holder.refresh()
    assert (done.outcome, done.number) == ("refused", 2)
    assert "KeyError" in done.reason
    assert holder.status().active == 1
