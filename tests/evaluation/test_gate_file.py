"""gate.yaml: what is accepted, what is refused and in which line."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import date as Date
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator

from evaluation.gate_file import BUILTIN, gate_path, gate_sha256, json_schema, read_gate
from evaluation.gate_spec import KINDS, Ceiling, CeilingRel, Floor, GateSpec, NonInferior, Superior
from reporting.errors import ConfigError

# Of evaluation-index-eviction.md, 4.3, as it stands.
REFERENCE = """\
schema: gate/1
evalset: same-item@3f9c...           # pinned
baselines: {release: current, champion: pinned@v118}   # both must hold
alpha: 0.05   # one-sided; guardrails need no multiplicity correction (union-intersection)
rules:
 - {id: hit10-floor,   kind: floor,         metric: hit@10, slice: all, min: 0.90, bound: wilson_lower}
 - {id: recall10-floor, kind: floor,        metric: recall@10, slice: all, min: 0.80, bound: clustered_lower}
 - {id: recall10-ni, kind: noninferior,     metric: recall@10, slice: all, margin_pp: 0.5, vs: [release, champion], cluster: product}
 - {id: hit10-ni,      kind: noninferior,   metric: hit@10, slice: all, margin_pp: 0.5, vs: [release, champion], cluster: product}
 - {id: cat-ni,        kind: noninferior,   metric: hit@10, slice: "category=*", margin_pp: 2.0, min_n: 400, on_underpowered: inconclusive}
 - {id: tail-ni,       kind: noninferior,   metric: hit@10, slice: "freq=tail", margin_pp: 1.0, min_n: 900}
 - {id: ann-loss,      kind: ceiling,       metric: label_loss@10, max_pp: 0.5}
 - {id: day-selfprobe, kind: floor,         metric: self_recall@1, slice: "day=*", min: 0.99}
 - {id: no-lost-group, kind: invariant,     metric: groups_with_zero_images, equals: 0}
 - {id: takedowns,     kind: invariant,     metric: resurrected_takedowns, equals: 0}
 - {id: contract,      kind: invariant,     metric: merge_contract_violations, equals: 0}
 - {id: p99,           kind: ceiling_rel,   metric: latency_p99_ms, max_ratio: 1.10, samples: 5, statistic: median_of_runs}
 - {id: mem,           kind: ceiling_rel,   metric: index_bytes_per_row, max_ratio: 1.02}
 - {id: improve,       kind: superior,      metric: hit@10, required_for: model_change_only}
waivers: []   # {rule, reason, approver, expires, evidence}; a waived rule prints in every output
"""  # noqa: E501 - the lines of the reference

HEAD = "schema: gate/1\nrules:\n"
SOUND = "  - {id: a, kind: invariant, metric: orphan_ids}\n"
Read = Callable[[str], GateSpec]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Read a text as gate.yaml."""

    def from_text(text: str) -> GateSpec:
        path = tmp_path / "gate.yaml"
        path.write_text(text, encoding="utf-8")
        return read_gate(path)

    return from_text


def test_the_example_of_the_reference_loads_as_it_stands(read):
    spec = read(REFERENCE)
    rules = {rule.id: rule for rule in spec.rules}
    assert (spec.evalset, spec.baselines) == ("same-item@3f9c...", {"release": "current", "champion": "pinned@v118"})
    assert (len(rules), spec.alpha, spec.ks, spec.waivers) == (14, 0.05, (1, 10), ())
    floor, paired, ceiling = rules["hit10-floor"], rules["tail-ni"], rules["ann-loss"]
    assert isinstance(floor, Floor)
    assert (floor.min, floor.bound) == (0.9, "wilson_lower")
    assert isinstance(paired, NonInferior)
    assert (paired.margin_pp, paired.min_n) == (1.0, 900)
    assert isinstance(ceiling, Ceiling)
    assert ceiling.limit == pytest.approx(0.005)
    p99, improve = rules["p99"], rules["improve"]
    assert isinstance(p99, CeilingRel)
    assert (p99.samples, p99.statistic) == (5, "median_of_runs")
    assert isinstance(improve, Superior)
    assert improve.required_for == "model_change_only"


def test_a_set_is_pinned_by_its_name_and_the_beginning_of_its_hash(read):
    spec = read(REFERENCE)
    assert spec.pins("same-item@3f9c00112233")
    assert not spec.pins("same-item@3f9d00112233")
    assert not spec.pins("other-item@3f9c00112233")
    whole = read(f"evalset: same-item@{'3f9c' * 16}\n{HEAD}{SOUND}")
    assert whole.pins("same-item@" + "3f9c" * 3)
    assert read(HEAD + SOUND).pins("anything@000000000000")


@pytest.mark.parametrize("name", BUILTIN)
def test_the_gates_that_come_with_funnelgate_gate_on_recall_and_hit_overall_and_by_category(name):
    spec = read_gate(gate_path(name))
    paired = {(rule.metric, rule.slice) for rule in spec.rules if rule.kind == "noninferior"}
    assert {(metric, where) for metric in ("recall@10", "hit@10") for where in ("all", "category=*")} <= paired
    assert all(rule.vs == ("release", "champion") for rule in spec.rules if isinstance(rule, NonInferior)), (
        "a baseline of yesterday alone lets quality rot"
    )


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("schema: gate/2\nrules:\n" + SOUND, 1, "schema: Input should be 'gate/1'"),
        (HEAD + SOUND + "alhpa: 0.05\n", 4, "did you mean alpha?"),
        ("alpha: 0.5\n" + HEAD + SOUND, 1, "alpha: Input should be less than 0.5"),
        ("alpha: true\n" + HEAD + SOUND, 1, "alpha: Input should be a valid number"),
        ("evalset: shoes\n" + HEAD + SOUND, 1, "evalset: String should match"),
        ("baselines: {champoin: x}\n" + HEAD + SOUND, 1, "'release' or 'champion'"),
        ("schema: gate/1\nrules: []\n", 2, "rules: Tuple should have at least 1 item"),
        (HEAD + "  - id: a\n    metric: hit@10\n", 3, "a rule has no kind; expected one of: ceiling, ceiling_rel"),
        (HEAD + "  - id: a\n    kind: flour\n", 4, "unknown kind 'flour'; did you mean floor?"),
        (
            HEAD + SOUND + "  - id: b\n    kind: floor\n    metric: hit@10\n    minn: 1\n",
            7,
            "did you mean min_n or min?",
        ),
        (HEAD + "  - id: a\n    kind: floor\n    metric: hit@10\n    min: 90\n", 6, "write 0.9 for 90 %"),
        (HEAD + "  - id: a\n    kind: floor\n    metric: hit@10\n    min: .nan\n", 6, "min: Input should be a finite"),
        (
            HEAD + "  - id: a\n    kind: invariant\n    metric: x\n    equals: true\n",
            6,
            "equals: Input should be a valid",
        ),
        (HEAD + "  - {id: a, kind: noninferior, metric: hitt@10, margin_pp: 1}\n", 3, "did you mean hit@10"),
        (HEAD + "  - {id: a, kind: noninferior, metric: hit@0, margin_pp: 1}\n", 3, "did you mean hit@10?"),
        (HEAD + "  - {id: a, kind: noninferior, metric: orphan_ids, margin_pp: 1}\n", 3, "no metric of single queries"),
        (HEAD + "  - {id: a, kind: superior, metric: ann_loss@10}\n", 3, "better the lower it is"),
        (
            HEAD + "  - {id: a, kind: noninferior, metric: hit@10, margin_pp: 0}\n",
            3,
            "margin_pp: Input should be greater",
        ),
        (HEAD + "  - {id: a, kind: noninferior, metric: hit@10, margin_pp: 1, vs: []}\n", 3, "vs: Tuple should have"),
        (HEAD + "  - {id: a, kind: ceiling, metric: x}\n", 3, "exactly one of max and max_pp"),
        (HEAD + "  - {id: a, kind: ceiling, metric: x, max: 1, max_pp: 1}\n", 3, "exactly one of max and max_pp"),
        (HEAD + SOUND + SOUND, 4, "id 'a' is already used at"),
        (
            HEAD + SOUND + "waivers:\n  - {rule: b, reason: as we agreed, approver: x, expires: 2026-12-01}\n",
            5,
            "there is no rule 'b' to waive",
        ),
        (
            HEAD + SOUND + "waivers:\n  - {rule: a, reason: because, approver: x, expires: 2026-12-01}\n",
            5,
            "reason: String should have at least 10",
        ),
        (
            HEAD + SOUND + "waivers:\n  - {rule: a, reason: as we agreed, approver: x, expires: 20261201}\n",
            5,
            "expected a day as in 2026-11-01",
        ),
    ],
)
def test_a_fault_is_told_with_its_line_and_the_nearest_name(read, text, line, said):
    with pytest.raises(ConfigError) as raised:
        read(text)
    assert f"gate.yaml:{line}: " in str(raised.value)
    assert said in str(raised.value)


def test_all_faults_are_told_at_once(read):
    with pytest.raises(ConfigError) as raised:
        read(
            HEAD + "  - {id: a, kind: flor}\n  - {id: b, kind: floor, metric: hit@10}\n  - {id: A b, kind: invariant}\n"
        )
    lines = str(raised.value).splitlines()
    assert [line.partition("gate.yaml:")[2].partition(":")[0] for line in lines] == ["3", "4", "5", "5"]


def test_the_schema_says_the_same_as_the_reader_about_sound_and_broken_files(read):
    schema = json_schema()
    Draft202012Validator.check_schema(schema)
    validator = Draft202012Validator(schema)
    for text in (REFERENCE, *(path.read_text(encoding="utf-8") for path in BUILTIN.values())):
        assert list(validator.iter_errors(yaml.safe_load(text))) == []
    for text in (
        "schema: gate/2\nrules:\n" + SOUND,
        HEAD + "  - {id: a, kind: flour, metric: x}\n",
        HEAD + "  - {id: a, kind: floor, metric: x, min: 1, minn: 2}\n",
        "schema: gate/1\nrules: []\n",
    ):
        assert not validator.is_valid(yaml.safe_load(text))
        with pytest.raises(ConfigError):
            read(text)


def test_every_kind_has_a_model_and_a_waiver_keeps_its_day(read):
    assert sorted(KINDS) == ["ceiling", "ceiling_rel", "floor", "invariant", "noninferior", "superior"]
    waiver = read(
        HEAD + SOUND + "waivers:\n  - {rule: a, reason: as we agreed, approver: x, expires: 2026-12-01}\n"
    ).waivers[0]
    assert waiver.expires == Date(2026, 12, 1)


def test_the_hash_of_a_gate_is_that_of_its_file(tmp_path):
    path = tmp_path / "gate.yaml"
    path.write_bytes(b"schema: gate/1\n")
    assert gate_sha256(path) == hashlib.sha256(b"schema: gate/1\n").hexdigest()
    with pytest.raises(ConfigError, match="cannot be read"):
        gate_sha256(tmp_path / "none.yaml")


def test_the_example_of_the_page_about_the_gate_loads(read, repository):
    page = (repository / "docs" / "gate.md").read_text(encoding="utf-8")
    spec = read(page.partition("```yaml\n")[2].partition("```")[0])
    assert {rule.kind for rule in spec.rules} == set(KINDS)
    assert [waiver.rule for waiver in spec.waivers] == ["p99"]
