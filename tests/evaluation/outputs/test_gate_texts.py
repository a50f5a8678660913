"""junit.xml says to a CI server what the exit code says; summary.md fits a pull request whatever the set."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluation.outputs.folder import Evidence
from evaluation.outputs.junit import junit_bytes
from evaluation.outputs.summary import MOST_LINES, reproduce_command, summary_text
from evaluation.system import View
from evaluation.verdict import GateVerdict, PowerNote
from tests.checks.test_formats import JUNIT, rows
from tests.evaluation.report_world import HOSTILE, SPEC, bad_candidate, small_set, system, verdict_of

SET = small_set(hostile=True)
RELEASE = system(SET, {View.SERVED: {}}, name="old")
BAD = bad_candidate(SET)
FAIL = verdict_of(SET, BAD, RELEASE)
STATUSES = ("pass", "fail", "inconclusive", "not_applicable", "waived", "error")


def parsed(verdict: GateVerdict) -> ElementTree.Element:
    """Return JUnit parsed, after all of it was held against junit-10.xsd's rules."""
    root = ElementTree.fromstring(junit_bytes(verdict))
    assert root.tag == "testsuites"
    for element in root.iter():
        required, allowed, children = JUNIT[element.tag]
        assert required <= set(element.attrib) <= allowed, element.tag
        assert {child.tag for child in element} <= children, element.tag
    for suite in root:
        cases = suite.findall("testcase")
        assert int(suite.attrib["tests"]) == len(cases)
        for attribute, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
            assert int(suite.attrib[attribute]) == len(suite.findall(f"testcase/{tag}"))
    return root


def kinds(verdict: GateVerdict) -> dict[tuple[str, str], str | None]:
    told = {}
    for case in parsed(verdict).iter("testcase"):
        tags = [child.tag for child in case if child.tag != "system-out"]
        told[case.attrib["classname"], case.attrib["name"]] = tags[0] if tags else None
    return told


def test_there_is_one_test_case_for_each_rule_slice_and_baseline():
    names = [
        (f"gate.{rule.id}", f"{rule.metric} {rule.slice}" + (f" vs {rule.vs}" if rule.vs else ""))
        for rule in FAIL.rules
    ]
    assert list(kinds(FAIL)) == names
    assert len(set(names)) == len(FAIL.rules) > len(SPEC.rules)


def test_what_is_waived_or_does_not_apply_is_skipped_and_what_is_undecided_fails():
    told = {name.removeprefix("gate."): kind for (name, what), kind in kinds(FAIL).items() if "champion" not in what}
    assert (told["hit-floor"], told["waived-rule"], told["self"]) == ("failure", "skipped", "skipped")
    undecided = parsed(FAIL).findall("testsuite[@name='gate.cat-ni']/testcase/failure[@type='inconclusive']")
    assert undecided
    warned = parsed(verdict_of(SET, BAD, RELEASE, warn=True)).findall("testsuite[@name='gate.cat-ni']/testcase")
    assert {child.tag for case in warned for child in case} == {"skipped"}


def test_a_failure_carries_the_numbers_and_the_worst_queries():
    rule = next(rule for rule in FAIL.rules if rule.id == "hit-floor")
    failure = parsed(FAIL).find("testsuite[@name='gate.hit-floor']/testcase/failure")
    assert failure is not None
    assert rule.interval is not None
    text = failure.text or ""
    assert failure.attrib["message"] == rule.reason
    for number in (
        f"value: {rule.value:.6g}",
        f"{rule.interval[0]:.6g} .. {rule.interval[1]:.6g}",
        "limit: 0.9",
        "n: 8",
    ):
        assert number in text
    assert "q2" in text.split("worst: ")[1]


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
results = st.builds(
    lambda status, reason, warns, slice_name: FAIL.rules[0].model_copy(
        update={"status": status, "reason": reason, "warns": warns and status == "inconclusive", "slice": slice_name}
    ),
    st.sampled_from(STATUSES),
    texts,
    st.booleans(),
    texts,
)


@settings(max_examples=50)
@given(st.lists(results, max_size=5))
def test_junit_is_red_exactly_when_the_verdict_is_no_pass_whatever_names_and_reasons_hold(found):
    blocks = any(r.status in ("fail", "error") or (r.status == "inconclusive" and not r.warns) for r in found)
    is_pass = not blocks and any(r.status in ("pass", "waived") for r in found)
    verdict = FAIL.model_copy(update={"rules": tuple(found), "verdict": "PASS" if is_pass else "INCONCLUSIVE"})
    red = sum(int(suite.attrib["failures"]) + int(suite.attrib["errors"]) for suite in parsed(verdict))
    assert (red > 0) == (not is_pass)


def test_the_summary_says_the_verdict_first_and_lists_what_blocks():
    text = summary_text(Evidence(FAIL, SET, BAD, {"release": RELEASE}))
    assert text.startswith("## FAIL: failed: ")
    table = rows(text)
    assert table[0] == ["status", "rule", "slice", "vs", "value", "interval", "limit", "n"]
    statuses = [row[0] for row in table[2:] if row[0] in (*STATUSES, "only warns")]
    assert statuses == sorted(statuses, key=["fail", "inconclusive", "only warns", "waived"].index)
    assert "- waived: waived-rule on all, until 2026-12-01, by anna: known since OPS-1" in text
    assert "- a waiver of self has expired on 2026-11-01" in text
    assert "3 queries find nothing among their first 3, 3 of them found by the release:" in text
    assert "unanswered 1 of 1" in text


def test_the_summary_names_the_slices_that_lost_most_first():
    table = rows(summary_text(Evidence(FAIL, SET, BAD, {"release": RELEASE})))
    start = table.index(["slice", "metric", "candidate", "against", "interval", "n"])
    losses = [float(row[3].split()[0]) for row in table[start + 2 :]]
    assert losses == sorted(losses)
    assert losses[0] < 0


def test_the_summary_takes_no_markup_and_no_mention_from_names():
    text = summary_text(Evidence(FAIL, SET, BAD, {"release": RELEASE})).split("```")[0]
    assert HOSTILE not in text
    assert "<script>" not in text
    assert "&lt;script&gt;" in text
    assert "small\\@" in text


def test_the_summary_stays_within_sixty_lines_whatever_the_number_of_rules():
    many = tuple(rule for rule in FAIL.rules for _ in range(200))
    waiver = next(rule.waiver for rule in FAIL.rules if rule.waiver is not None)
    note = PowerNote(id="x", metric="hit@3", slice="all", carries="no", n=1, least=9, reason="few")
    crowded = FAIL.model_copy(update={"rules": many, "waivers_expired": (waiver,) * 50, "power": (note,) * 50})
    text = summary_text(Evidence(crowded, SET, BAD, {"release": RELEASE}))
    assert len(text.splitlines()) <= MOST_LINES == 60
    assert "more like those above: see report.html" in text


@pytest.mark.parametrize("warn", [False, True])
def test_the_command_repeats_how_inconclusive_was_taken_and_quotes_names(warn):
    command = reproduce_command(verdict_of(SET, BAD, RELEASE, warn=warn))
    assert ("--inconclusive warn" in command) == warn
    assert "--release old --config gate.yaml --as-of 2026-11-20" in command
    assert f"'new-{HOSTILE}'" in command
