"""What a whole gate costs, as a ratio to the same work done the plain way: pytrec_eval and scipy's bootstrap."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import pytest
import pytrec_eval
from pytest_benchmark.fixture import BenchmarkFixture
from scipy.stats import bootstrap  # type: ignore[import-untyped]

from evaluation.answers import Answers
from evaluation.evalset import EvalSet
from evaluation.gate import judge
from evaluation.gate_file import BUILTIN, read_gate
from evaluation.measure import measure
from evaluation.system import System, View
from evaluation.verdict import GateVerdict
from tests.evaluation.gate_world import AS_OF, system, world

PRODUCTS, QUERIES_EACH, HITS, RESAMPLES = 5000, 2, 100, 2000
Answer = TypeVar("Answer")


def timed(function: Callable[[], Answer]) -> tuple[float, Answer]:
    """Return the CPU seconds a call took, and its answer."""
    started = time.process_time()
    answer = function()
    return time.process_time() - started, answer


def longer(answers: Answers, evalset: EvalSet) -> Answers:
    """Return the lists filled up to `HITS` with pictures that are nobody's."""
    n = len(evalset.queries)
    width = len(answers.row) // n
    filler = np.array([f"other-{number}" for number in range(HITS - width)], np.object_)
    names = np.hstack([answers.image_id.reshape(n, width), np.tile(filler, (n, 1))])
    near = np.hstack([answers.distance.reshape(n, width), np.tile(np.linspace(1, 2, HITS - width), (n, 1))])
    return Answers(
        query_ids=answers.query_ids,
        statuses=answers.statuses,
        row=np.repeat(np.arange(n), HITS),
        image_id=names.ravel(),
        distance=near.ravel(),
    )


def gate(evalset: EvalSet, systems: list[System]) -> GateVerdict:
    """Rank, measure and judge a candidate against release and champion."""
    candidate, release, champion = (measure(one, evalset) for one in systems)
    spec = read_gate(BUILTIN["default"])
    given: dict[str, Any] = {"release": release, "champion": champion}
    return judge(spec, evalset, candidate, **given, as_of=AS_OF, tool="bench", config_sha256="0" * 64)


def plain(evalset: EvalSet, systems: list[System], masks: list[np.ndarray]) -> int:
    """Do the part of it that libraries do: dictionaries, pytrec_eval, and a bootstrap of each difference by slice."""
    groups: dict[str, list[str]] = {}
    for image in evalset.catalog:
        groups.setdefault(image.group_id, []).append(image.image_id)
    qrels = {label.query_id: dict.fromkeys(groups[label.group_id], 1) for label in evalset.labels}
    values = []
    for one in systems:
        answers = one.views[View.SERVED]
        run: dict[str, dict[str, float]] = {query: {} for query in answers.query_ids}
        for row, name, near in zip(answers.row.tolist(), answers.image_id, answers.distance.tolist(), strict=True):
            run[answers.query_ids[row]][name] = -near
        found = pytrec_eval.RelevanceEvaluator(qrels, {"success.10", "recall.10"}).evaluate(run)
        values.append(np.array([[found[q]["success_10"], found[q]["recall_10"]] for q in answers.query_ids]))
    intervals = 0
    for baseline in values[1:]:
        for metric in range(2):
            for mask in masks:
                change = (values[0] - baseline)[mask, metric]
                bootstrap((change,), np.mean, n_resamples=RESAMPLES, method="percentile", random_state=0)
                intervals += 1
    return intervals


@pytest.mark.slow
@pytest.mark.benchmark(group="gate")
def test_a_whole_gate_against_pytrec_eval_and_a_bootstrap(benchmark: BenchmarkFixture) -> None:
    """10,000 queries x 100 hits, three systems, the default gate; CPU seconds.

    The plain way does less: no ties, no exact view, no catalogue, and intervals that know no products.
    """
    evalset = world(PRODUCTS, QUERIES_EACH)
    systems = []
    for name, step in (("candidate", 40), ("release", 41), ("champion", 43)):
        found = system(evalset, range(0, len(evalset.queries), step), name)
        answers = longer(found.views[View.SERVED], evalset)
        systems.append(System(name=name, views={View.SERVED: answers}, facts=found.facts, inputs=found.inputs))
    verdict = gate(evalset, systems)
    sizes = measure(systems[0], evalset).slices
    masks = [mask for name, mask in sizes.items() if name in ("all", "freq=tail") or name.startswith("category=")]
    plain_seconds, intervals = timed(lambda: plain(evalset, systems, masks))
    ours = benchmark.pedantic(lambda: timed(lambda: gate(evalset, systems))[0], rounds=2)
    assert intervals == 20
    assert len(verdict.rules) > 30
    benchmark.extra_info["gate_CPU_seconds"] = round(ours, 2)
    benchmark.extra_info["plain_CPU_seconds_over_the_gate's"] = round(plain_seconds / ours, 1)
