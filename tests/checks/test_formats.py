"""The reports say the same as the results, in forms that their readers take: JSON, JUnit, Markdown, OpenMetrics."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from checks.formats import to_document, to_junit, to_markdown, to_openmetrics, worst_first
from checks.result import Cause, Place, Result, Status, exit_code, status_of
from checks.run import Run
from reporting.testing import DAY

AS_OF = datetime(2026, 11, 2, 12, tzinfo=UTC)
SCHEMA = json.loads((Path(__file__).parents[2] / "docs" / "schemas" / "checks-run.json").read_text(encoding="utf-8"))


def result(status: Status = Status.PASS, instance: str = "crop", **fields: object) -> Result:
    usual: dict[str, object] = {
        "id": "books",
        "kind": "conservation",
        "key": Place(task="crop", date=DAY),
        "reason": "as it is",
        "as_of": AS_OF,
        "config_hash": "cafe",
    }
    return Result.model_validate({**usual, "instance": instance, "status": status, **fields})


def run_of(*results: Result) -> Run:
    return Run(
        run_id="r1",
        date=DAY,
        as_of=AS_OF,
        config_hash="cafe",
        status=status_of(results),
        results=tuple(results),
        started_at=AS_OF,
    )


BROKEN = result(
    Status.FAIL,
    "detect->crop",
    id="edges",
    kind="reconcile",
    key=Place(task="crop", source="detect", date=DAY, planid="daily", group={"subinstance": "0001"}),
    value=90.5,
    expected=100,
    tolerance=0,
    numerator=90.5,
    denominator=100,
    history=12,
    explain=[Cause(where={"subinstance": ("0001",)}, missing=9.5, share=1)],
    sentence="100 % of 9.5 missing objects: subinstance=0001",
    repair="funnelgate run --kind rerun",
    reason='took 90.5 of 100 "objects" <b> & more',
)
ALL_KINDS = (
    result(),
    result(Status.WARN, "warned"),
    BROKEN,
    result(Status.NOT_EVALUATED, "silent"),
    result(Status.NOT_EVALUATED, "warming up", counts=False),
    result(Status.ERROR, "in trouble"),
)

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
results = st.builds(
    lambda status, name, reason, sentence, counts, value: result(
        status, name, reason=reason, sentence=sentence, counts=counts, value=value
    ),
    st.sampled_from(Status),
    texts,
    texts,
    texts,
    st.booleans(),
    st.none() | st.floats(allow_nan=False, allow_infinity=False),
)
runs = st.lists(results, max_size=6, unique_by=lambda one: one.instance).map(lambda found: run_of(*found))


@settings(max_examples=25)
@given(runs)
def test_the_document_follows_its_schema_and_holds_every_result(run):
    document = json.loads(json.dumps(to_document(run)))
    Draft202012Validator(SCHEMA).validate(document)
    assert [(c["instance"], c["status"]) for c in document["checks"]] == [
        (r.instance, r.status.value) for r in run.results
    ]


def test_the_document_has_exactly_the_keys_that_were_promised():
    document = to_document(run_of(BROKEN))
    assert set(document) == {"status", "as_of", "config_hash", "date", "run_id", "checks"}
    assert set(document["checks"][0]) == {
        "id", "kind", "instance", "status", "key", "value", "expected", "tolerance", "numerator", "denominator",
        "history", "reason", "explain", "sentence", "repair", "counts", "details",
    }  # fmt: skip
    assert document["checks"][0]["key"] == {
        "task": "crop",
        "source": "detect",
        "date": DAY.isoformat(),
        "planid": "daily",
        "group": {"subinstance": "0001"},
    }
    assert document["checks"][0]["explain"] == [{"where": {"subinstance": ["0001"]}, "missing": 9.5, "share": 1}]


# What Jenkins' junit-10.xsd allows: element to (attributes required, all attributes, children).
JUNIT = {
    "testsuites": (set(), {"name", "time", "tests", "failures", "disabled", "errors"}, {"testsuite"}),
    "testsuite": (
        {"name"},
        {"name", "tests", "failures", "errors", "group", "time", "skipped", "timestamp", "hostname", "id", "package",
         "file", "log", "url", "version"},
        {"testsuite", "properties", "testcase", "system-out", "system-err"},
    ),
    "properties": (set(), set(), {"property"}),
    "property": ({"name", "value"}, {"name", "value"}, set()),
    "testcase": (
        {"name"},
        {"name", "time", "classname", "group"},
        {"skipped", "error", "failure", "system-out", "system-err"},
    ),
    "failure": (set(), {"type", "message"}, set()),
    "error": (set(), {"type", "message"}, set()),
    "skipped": (set(), {"type", "message"}, set()),
    "system-out": (set(), set(), set()),
}  # fmt: skip


def validated(text: str) -> ElementTree.Element:
    """Return JUnit parsed, after all of it was held against the schema's rules."""
    root = ElementTree.fromstring(text.encode())
    assert root.tag == "testsuites"
    for element in root.iter():
        required, allowed, children = JUNIT[element.tag]
        assert required <= set(element.attrib) <= allowed, element.tag
        assert {child.tag for child in element} <= children, element.tag
    for suite in root:
        cases = suite.findall("testcase")
        found = Counter(child.tag for case in cases for child in case)
        assert int(suite.attrib["tests"]) == len(cases)
        for attribute, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
            assert int(suite.attrib[attribute]) == found[tag]
        datetime.fromisoformat(suite.attrib["timestamp"])
        names = [case.attrib["name"] for case in cases]
        assert len(set(names)) == len(names) or "\ufffd" in "".join(names)
    return root


@settings(max_examples=25)
@given(runs)
def test_junit_follows_its_schema_whatever_the_names_and_reasons_hold(run):
    root = validated(to_junit(run))
    assert sum(1 for _ in root.iter("testcase")) == len(run.results)


def test_junit_calls_what_does_not_count_skipped_and_what_was_not_judged_an_error():
    root = validated(to_junit(run_of(*ALL_KINDS)))
    said = {case.attrib["name"]: [child.tag for child in case] for case in root.iter("testcase")}
    assert said == {
        "crop": [],
        "warned": ["system-out"],
        "detect->crop": ["failure"],
        "silent": ["error"],
        "warming up": ["skipped"],
        "in trouble": ["error"],
    }
    failure = root.find(".//failure")
    assert failure is not None
    assert failure.attrib["message"] == BROKEN.reason
    assert "to mend it: funnelgate run --kind rerun" in (failure.text or "")


@settings(max_examples=25)
@given(runs)
def test_junit_is_red_exactly_when_the_exit_code_is_not_0(run):
    root = validated(to_junit(run))
    red = any(int(suite.attrib["failures"]) + int(suite.attrib["errors"]) for suite in root)
    counting = [r for r in run.results if r.counts]
    everything_counts = len(counting) == len(run.results)
    if run.results and everything_counts:
        assert red == (exit_code(run.results) != 0)


def rows(text: str) -> list[list[str]]:
    """Return the cells of a Markdown table, by the rules of GFM: a bar that is not escaped parts cells."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)(?:\\\\)*\|", line)[1:-1]] for line in lines]


@settings(max_examples=25)
@given(runs)
def test_markdown_lists_what_is_no_pass_and_counts_one_row_each(run):
    table = rows(to_markdown(run))
    listed = [r for r in run.results if r.status is not Status.PASS and r.counts]
    assert len(table) == (len(listed) + 2 if listed else 0)
    assert {len(row) for row in table} <= {4}


def test_markdown_tells_the_worst_first_and_takes_no_markup_from_names():
    text = to_markdown(run_of(*ALL_KINDS))
    assert text.startswith(f"## Checks of {DAY}: fail\n\n1 fail, 1 error, 2 not evaluated, 1 warn, 1 pass.\n")
    assert [row[0] for row in rows(text)[2:]] == [
        "fail", "error", "not evaluated", "warn",
    ]  # fmt: skip
    assert text.endswith("\n1 do not count: a warm-up, or nothing there to judge yet.\n")
    assert "&lt;b&gt; &amp; more" in text
    assert "<b>" not in text


SAMPLE = re.compile(
    r"(?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*)"
    r'(?:\{(?P<labels>[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\["\\n])*"'
    r'(?:,[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\["\\n])*")*)\})?'
    r" (?P<value>[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?)"
)
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"')


def families(text: str) -> dict[str, tuple[str, list[tuple[dict[str, str], float]]]]:
    """Return family to (type, samples), after the text was held against the rules of OpenMetrics 1.0."""
    lines = text.split("\n")
    assert lines[-2:] == ["# EOF", ""], "ends with EOF and a line feed"
    found: dict[str, tuple[str, list[tuple[dict[str, str], float]]]] = {}
    current = ""
    for line in lines[:-2]:
        if line.startswith("# "):
            keyword, name, rest = line[2:].split(" ", 2)
            if keyword == "TYPE":
                assert name not in found, "families are not interleaved"
                found[name], current = (rest, []), name
            assert name == current
            assert keyword != "UNIT" or name.endswith(f"_{rest}")
            continue
        sample = SAMPLE.fullmatch(line)
        assert sample, line
        kind, samples = found[current]
        assert sample["name"] == current + ("_info" if kind == "info" else "")
        labels = dict(LABEL.findall(sample["labels"] or ""))
        assert labels not in [known for known, _ in samples], "no sample twice"
        if kind == "stateset":
            assert current in labels
            assert float(sample["value"]) in (0, 1)
        samples.append((labels, float(sample["value"])))
    return found


@settings(max_examples=25)
@given(runs)
def test_openmetrics_follows_its_rules_and_counts_every_result(run):
    found = families(to_openmetrics(run))
    counts = {labels["status"]: value for labels, value in found["funnelgate_checks_results"][1]}
    assert counts == {status.value: sum(r.status is status for r in run.results) for status in Status}
    states = {labels["funnelgate_checks_status"]: value for labels, value in found["funnelgate_checks_status"][1]}
    assert [state for state, on in states.items() if on] == [run.status.value]
    assert len(found["funnelgate_check_status"][1]) == len(run.results)
    values = [value for _, value in found["funnelgate_check_value"][1]]
    assert values == [r.value for r in run.results if r.value is not None]


def test_openmetrics_has_the_day_and_the_moment_as_seconds():
    found = families(to_openmetrics(run_of(BROKEN)))
    assert found["funnelgate_checks_as_of_seconds"] == ("gauge", [({}, AS_OF.timestamp())])
    assert (
        found["funnelgate_checks_date_seconds"][1][0][1]
        == datetime(DAY.year, DAY.month, DAY.day, tzinfo=UTC).timestamp()
    )
    ((labels, value),) = found["funnelgate_check_value"][1]
    assert (labels["check"], labels["check_instance"], value) == ("edges", "detect->crop", 90.5)


@pytest.mark.parametrize("found", [ALL_KINDS, ALL_KINDS[::-1]])
def test_the_worst_stand_first_and_what_does_not_count_last_among_equals(found: Sequence[Result]):
    assert [r.instance for r in worst_first(found) if r.status is not Status.NOT_EVALUATED] == [
        "detect->crop", "in trouble", "warned", "crop",
    ]  # fmt: skip
    assert [r.counts for r in worst_first(found) if r.status is Status.NOT_EVALUATED] == [True, False]
