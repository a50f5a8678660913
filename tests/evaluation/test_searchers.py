"""Which searcher a name means, how an index is asked, and the figures of its latency."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date as Date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluation.answers import Status
from evaluation.latency import latency_facts
from evaluation.searchers import open_system
from evaluation.searchers.index import spread, system_of
from evaluation.system import View
from reporting.errors import DataError, UsageError
from tests.evaluation.picture_set import picture_of, picture_set, sha256

DAY = Date(2026, 11, 1)


class Scripted:
    """An index that finds each query's own picture, but as a test says."""

    name = "scripted"
    inputs: Mapping[str, str] = {"index": "a" * 64}

    def __init__(self, count: int, *, failing: Sequence[int] = (), short: bool = False, probed: Any = ()) -> None:
        self.count, self.failing, self.short, self.probed = count, failing, short, probed
        self.asked: list[int] = []
        self.told: set[bool] = set()

    def ask(self, pictures: Sequence[bytes], labelled: Sequence[str], k: int, *, told: bool) -> list[Any]:
        self.asked.append(len(pictures))
        self.told.add(told)
        assert set(labelled) == {"shoes"}
        numbers = [int(one.split()[1]) for one in pictures]
        found = [[(sha256(picture_of(number)), 0.25, f"g{number}")] for number in numbers]
        answers = [
            "broken" if n in self.failing else (one, one, one, one) for n, one in zip(numbers, found, strict=True)
        ]
        return answers[: -1 if self.short else None]

    def survivors(self) -> Mapping[str, str]:
        return {}

    def held(self) -> list[tuple[str, str, Date]]:
        return [(sha256(picture_of(number)), "shoes", DAY) for number in range(self.count)]

    def probe(self, per_day: int) -> Any:
        return self.probed

    def curve(self, pictures: Sequence[bytes], k: int) -> Mapping[int, float]:
        return {1: len(pictures) / 1000}

    def bytes_per_row(self) -> float:
        return 40.0

    def contract_violations(self) -> Sequence[str]:
        return [] if self.short else [f"fault {number}" for number in range(30)]

    def seconds(self, pictures: Sequence[bytes], k: int) -> Sequence[float]:
        return [0.001 * (1 + place) for place in range(len(pictures))]


def test_an_index_is_asked_in_batches_and_one_failed_query_is_one_error(tmp_path: Path) -> None:
    index = Scripted(150, failing=(7, 149))
    system = system_of(index, picture_set(tmp_path, 150), told=True, latency_queries=4, latency_runs=3)
    assert (sum(index.asked), max(index.asked), index.told) == (150, 64, {True})
    for view in View:
        found = system.views[view]
        errors = [
            query for query, status in zip(found.query_ids, found.statuses, strict=True) if status is Status.ERROR
        ]
        assert (errors, dict(found.errors)) == (["q07", "q149"], {"q07": "broken", "q149": "broken"})
        assert len(found.image_id) == 148
    assert system.inputs == {"index": "a" * 64}
    assert system.curve == {1: 0.15}
    facts = {fact.metric: fact for fact in system.facts}
    assert (facts["merge_contract_violations"].value, len(facts["merge_contract_violations"].examples)) == (30, 20)
    assert (facts["latency_p50_ms"].value, facts["latency_p50_ms"].samples) == (2.5, (2.5, 2.5, 2.5))


def test_an_index_that_answers_fewer_than_it_was_asked_breaks_its_contract(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="scripted: 2 answers to 3 pictures; expected one for each"):
        system_of(Scripted(3, short=True), picture_set(tmp_path, 3))


def test_the_self_probe_is_summed_by_day_and_told_by_shard_with_its_number(tmp_path: Path) -> None:
    later = Date(2026, 11, 2)
    probed = [(DAY, "hats", 9, 10), (DAY, "shoes", 30, 30), (later, "shoes", 5, 20), (later, "hats", 0, 0)]
    facts = system_of(Scripted(1, probed=probed), picture_set(tmp_path, 1)).facts
    assert {fact.slice: (fact.value, fact.n) for fact in facts if fact.metric == "self_recall@1"} == {
        "all": (44 / 60, 60),
        "day=2026-11-01": (39 / 40, 40),
        "day=2026-11-02": (5 / 20, 20),
        "category=hats,day=2026-11-01": (0.9, 10),
        "category=shoes,day=2026-11-01": (1.0, 30),
        "category=shoes,day=2026-11-02": (0.25, 20),
    }


def test_a_sample_of_queries_is_spread_evenly(tmp_path: Path) -> None:
    queries = picture_set(tmp_path, 10).queries
    assert [query.query_id for query in spread(queries, 3)] == ["q00", "q03", "q06"]
    assert spread(queries, 99) == queries


def test_a_name_is_the_index_a_service_or_a_run_and_anything_else_is_refused(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    evalset = picture_set(tmp_path / "pictures", 2)
    opened: list[str] = []

    def opens(name: str) -> Scripted:
        opened.append(name)
        return Scripted(2)

    for name in ("index", "index:7", "index:champion"):
        assert open_system(name, evalset, opened=opens).name == "scripted"
    assert opened == ["", "7", "champion"]
    with pytest.raises(UsageError, match="there is no pipeline here, so there is no index"):
        open_system("index", evalset)
    with pytest.raises(UsageError, match=r"'indx:7' is no searcher: expected a run file"):
        open_system("indx:7", evalset, opened=opens)
    (tmp_path / "mine.run").write_text("q00 Q0 i0 1 0.9 r\n")
    assert open_system("mine.run", evalset).views[View.SERVED].image_id.tolist() == ["i0"]
    with pytest.raises(DataError, match=r"gone\.run"):
        open_system("gone.run", evalset)


seconds = st.lists(st.floats(0, 100), max_size=30)


@given(st.lists(seconds, max_size=6))
def test_latency_is_the_median_over_runs_of_each_runs_percentile(runs: list[list[float]]) -> None:
    facts = {fact.metric: fact for fact in latency_facts(runs)}
    timed = [run for run in runs if run]
    assert set(facts) == ({"latency_p50_ms", "latency_p95_ms", "latency_p99_ms"} if timed else set())
    for name, fact in facts.items():
        share = int(name[9:11]) / 100
        each = [_percentile(sorted(run), share) * 1000 for run in timed]
        assert fact.samples == pytest.approx(each, abs=1e-5)
        assert fact.value == pytest.approx(float(np.median(each)), abs=1e-5)
        assert fact.n == sum(map(len, timed))


def _percentile(rising: list[float], share: float) -> float:
    """Interpolate between the two nearest of the n values, the first at share 0 and the last at 1."""
    place = share * (len(rising) - 1)
    below = int(place)
    above = min(below + 1, len(rising) - 1)
    return rising[below] + (place - below) * (rising[above] - rising[below])
