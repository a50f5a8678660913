"""The checks notice what is put in, and mutation notices where they do not."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Literal

import pytest

from checks.faults import FAULTS
from checks.kinds.base import Check, Finding, Instance
from checks.mutate import mutate
from checks.result import Place, Status
from checks.spec import ChecksFile, LoadedChecks
from checks.view import View
from reporting.errors import EXIT_FAILED, EXIT_INCONCLUSIVE, EXIT_OK
from reporting.plans import Leaf
from reporting.testing import DAY
from reporting.topology import Topology
from tests.checks.rule_sets import load_text
from tests.checks.world import World

FAULT = {fault.name: fault for fault in FAULTS}


@cache
def shipped(repository: Path) -> LoadedChecks:
    """Return the default rules, and one for the version of the code, which the small pipeline books too."""
    text = (repository / "checks" / "rules" / "default.yaml").read_text(encoding="utf-8")
    text = text.replace("[hash, ", "[").replace("train, ", "")  # the small pipeline has none of these three tasks
    text = re.sub(r"    except: \[tail\].*\n", "", text)
    text = re.sub(r"  - id: (?:lists-drift|tail-near-budget)\n(?:    .*\n)+", "", text)  # of `train` and `evict` alone
    return load_text(f"{text}\n  - {{id: mine, kind: version, fields: [code, model, space]}}\n")


@cache
def day() -> View:
    return World().view()


@pytest.mark.slow
def test_the_shipped_rules_notice_every_fault_at_every_place_of_the_small_pipeline(repository):
    found = mutate(shipped(repository), day(), places=5)
    assert {report.fault.name: report.missed for report in found.faults} == {name: [] for name in FAULT}
    assert (found.recall, found.exit_code) == (1.0, EXIT_OK)
    places = {report.fault.name: len(report.injections) for report in found.faults}
    assert places == {name: 3 if name == "delayed_task" else 5 for name in FAULT}
    localised = {report.fault.name: report.localised for report in found.faults}
    assert localised.pop("duplicated_rerun") is None
    assert all(f1 is not None and f1 > 0.7 for f1 in localised.values()), localised
    assert {report.evaluations for report in found.faults if not report.fault.harmless} == {1.0}


def test_a_fault_that_no_check_looks_for_is_missed_and_fails():
    only_counts = load_text("version: 1\nchecks: [{id: edges, kind: reconcile}]\n")
    found = mutate(only_counts, day(), faults=[FAULT["wrong_ids_equal_counts"], FAULT["shrunk_3_percent"]], places=2)
    ids, counts = found.faults
    assert (ids.noticed, len(ids.missed), counts.missed) == (0, 2, [])
    assert (found.recall, found.exit_code) == (0.5, EXIT_FAILED)
    assert ids.localised is None


def test_a_class_that_can_be_put_in_nowhere_is_inconclusive_and_not_a_pass():
    loaded = load_text("version: 1\nchecks: [{id: items, kind: digest}]\n")
    without = World().view(digests=False)
    found = mutate(loaded, without, faults=[FAULT["wrong_ids_equal_counts"]])
    assert (found.recall, found.exit_code) == (None, EXIT_INCONCLUSIVE)


class CountsAll(Check):
    """Adds up whatever is there, of every plan: what a dashboard without effective plans does."""

    kind: Literal["counts-all"] = "counts-all"

    def expand(self, topology: Topology) -> list[Instance]:
        return [Instance(self.id, self.kind, "embed", "embed", None, ())]

    def judge(self, view: View) -> Iterator[Finding]:
        items = sum(record.input for record in view.records if record.key.task == "embed")
        yield Finding("embed", Place(task="embed", date=DAY), Status.PASS, "counted", value=items, expected=items)


def test_a_check_that_counts_a_repair_twice_is_found_out():
    base = load_text("version: 1\nchecks: [{id: edges, kind: reconcile}]\n")
    file = ChecksFile.model_construct(version=1, holidays=(), checks=(*base.file.checks, CountsAll(id="naive")))
    double = LoadedChecks(file, base.path, base.config_hash, base.source)
    fault = [FAULT["duplicated_rerun"]]
    assert mutate(base, day(), faults=fault, places=3).exit_code == EXIT_OK
    (report,) = mutate(double, day(), faults=fault, places=3).faults
    assert (report.noticed, len(report.missed)) == (0, 3)


def test_a_fault_is_never_put_where_it_is_broken_already():
    broken = World().ruin(Leaf("crop", DAY, "all", "0002")).view()
    loaded = load_text("version: 1\nchecks: [{id: there, kind: complete}]\n")
    found = mutate(loaded, broken, faults=[FAULT["lost_package"]], places=20)
    assert {one.spot.task for one in found.faults[0].injections} == {"download", "quality", "detect"}
    assert found.exit_code == EXIT_OK


def test_a_number_out_of_its_bounds_hides_no_fault_from_the_other_checks():
    loaded = load_text(
        "version: 1\nchecks:\n  - {id: edges, kind: reconcile}\n"
        "  - {id: odd, kind: ratio, value: output / input, between: [2, 3]}\n"
    )
    found = mutate(loaded, day(), faults=[FAULT["shrunk_3_percent"]], places=3)
    assert (len(found.faults[0].injections), found.recall) == (3, 1.0)


def test_equal_seeds_draw_equal_places_and_others_others():
    loaded = load_text("version: 1\nchecks: [{id: edges, kind: reconcile}]\n")

    def drawn(seed: int) -> list[str]:
        report = mutate(loaded, day(), faults=[FAULT["shrunk_3_percent"]], places=4, seed=seed).faults[0]
        return [str(one.spot) for one in report.injections]

    assert drawn(1) == drawn(1)
    assert len({tuple(drawn(seed)) for seed in range(4)}) > 1


def test_the_document_has_what_the_issue_asks_for():
    loaded = load_text("version: 1\nchecks: [{id: edges, kind: reconcile}, {id: items, kind: digest}]\n")
    found = mutate(loaded, day(), faults=[FAULT["wrong_ids_equal_counts"], FAULT["shrunk_3_percent"]], places=1)
    document = json.loads(json.dumps(found.to_document()))
    assert document["recall"] == 1.0
    first = document["faults"][0]
    assert {"fault", "detected_by", "localised"} <= first.keys()
    assert (first["fault"], first["detected_by"], first["places"], first["detected"]) == (
        "wrong_ids_equal_counts",
        ["items"],
        1,
        1,
    )


def test_progress_is_told_before_each_injection():
    told = []
    loaded = load_text("version: 1\nchecks: [{id: edges, kind: reconcile}]\n")
    mutate(loaded, day(), faults=[FAULT["shrunk_3_percent"]], places=3, progress=lambda *what: told.append(what))
    assert told == [("shrunk_3_percent", done, 3) for done in range(3)]
