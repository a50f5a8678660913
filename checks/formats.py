"""A run of checks for others to read: JSON, JUnit, Markdown and OpenMetrics, all of the same results.

Pure text. JUnit follows the schema that Jenkins keeps (xunit-plugin, junit-10.xsd) and the OpenMetrics text
specification 1.0; Markdown is for the summary page of a CI job.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, time
from typing import Any
from xml.etree import ElementTree

from checks.result import Result, Status
from checks.run import Run

_RESULT_KEYS = (
    "id", "kind", "instance", "status", "key", "value", "expected", "tolerance", "numerator", "denominator",
    "history", "reason", "explain", "sentence", "repair", "counts", "details",
)  # fmt: skip
_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 (2.2) allows nobody to write, not even escaped: an error's message may hold it."""
_GAUGES = {
    "value": "What an instance of a check has found, in its own unit.",
    "expected": "What it was compared with.",
    "tolerance": "By how much the value may differ before it fails.",
}
_WORST_FIRST = (Status.FAIL, Status.ERROR, Status.NOT_EVALUATED, Status.WARN, Status.PASS)


def worst_first(results: Iterable[Result]) -> list[Result]:
    """Return the results by status, those that count first among equals, else as they were."""
    return sorted(results, key=lambda result: (_WORST_FIRST.index(result.status), not result.counts))


def to_document(run: Run) -> dict[str, Any]:
    """Return what `checks run --json` prints; `docs/schemas/checks-run.json` is its schema."""
    return {
        "status": run.status.value,
        "as_of": run.as_of.isoformat(),
        "config_hash": run.config_hash,
        "date": run.date.isoformat(),
        "run_id": run.run_id,
        "checks": [_entry(result) for result in run.results],
    }


def _entry(result: Result) -> dict[str, Any]:
    found = result.model_dump(mode="json")
    return {key: found[key] for key in _RESULT_KEYS}


def to_junit(run: Run) -> str:
    """Return the run as JUnit XML: a test case for each instance of each check.

    A warning is a passed case that says so. What was not evaluated is an error where it counts, for a reader of the
    file alone must not take it for passed, and skipped where it does not.
    """
    suites = ElementTree.Element("testsuites")
    by_check: dict[str, list[Result]] = {}
    for result in run.results:
        by_check.setdefault(result.id, []).append(result)
    for check_id, results in by_check.items():
        suite = ElementTree.SubElement(suites, "testsuite", _suite_attributes(check_id, results, run))
        properties = ElementTree.SubElement(suite, "properties")
        for name, value in (
            ("date", run.date.isoformat()),
            ("as_of", run.as_of.isoformat()),
            ("config_hash", run.config_hash),
            ("run_id", run.run_id),
        ):
            ElementTree.SubElement(properties, "property", {"name": name, "value": value})
        for result in results:
            _junit_case(suite, result)
    ElementTree.indent(suites)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ElementTree.tostring(suites, encoding="unicode")}\n'


def _suite_attributes(check_id: str, results: list[Result], run: Run) -> dict[str, str]:
    kinds = Counter(_junit_kind(result) for result in results)
    return {
        "name": _xml(f"checks.{check_id}"),
        "tests": str(len(results)),
        "failures": str(kinds["failure"]),
        "errors": str(kinds["error"]),
        "skipped": str(kinds["skipped"]),
        "time": "0",
        "timestamp": run.as_of.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S"),
    }


def _junit_kind(result: Result) -> str | None:
    if result.status in (Status.PASS, Status.WARN):
        return None
    if result.status is Status.NOT_EVALUATED and not result.counts:
        return "skipped"
    return "failure" if result.status is Status.FAIL else "error"


def _junit_case(suite: ElementTree.Element, result: Result) -> None:
    names = {"classname": _xml(f"checks.{result.id}"), "name": _xml(result.instance), "time": "0"}
    case = ElementTree.SubElement(suite, "testcase", names)
    kind, text = _junit_kind(result), _xml("\n".join(_sentences(result)))
    if kind is not None:
        told = {"message": _xml(result.reason)} | ({} if kind == "skipped" else {"type": result.status.value})
        ElementTree.SubElement(case, kind, told).text = text
    elif result.status is Status.WARN:
        ElementTree.SubElement(case, "system-out").text = f"warning: {text}"


def _xml(text: str) -> str:
    return _NO_XML.sub("\ufffd", text)


def _sentences(result: Result) -> Iterator[str]:
    """Yield what there is to say of a result, the most important first."""
    yield result.reason
    if result.sentence:
        yield result.sentence
    if result.repair:
        yield f"to mend it: {result.repair}"


def to_markdown(run: Run) -> str:
    """Return the run as Markdown: one line on the whole, a table of what is not a pass and counts."""
    counts = Counter(result.status for result in run.results)
    summed = ", ".join(f"{counts[status]} {_words(status)}" for status in _WORST_FIRST if counts[status])
    lines = [f"## Checks of {run.date}: {_words(run.status)}", "", f"{summed or 'no check was run'}.", ""]
    lines += [f"As of {run.as_of.isoformat()}, configuration `{run.config_hash}`.", ""]
    rest = [result for result in worst_first(run.results) if result.status is not Status.PASS]
    listed = [result for result in rest if result.counts]
    if listed:
        lines += ["| status | check | instance | what |", "|---|---|---|---|"]
        lines += [
            f"| {_words(one.status)} | {_cell(one.id)} | {_cell(one.instance)} "
            f"| {'<br>'.join(_cell(text) for text in _sentences(one))} |"
            for one in listed
        ]
        lines.append("")
    if len(rest) > len(listed):
        lines += [f"{len(rest) - len(listed)} do not count: a warm-up, or nothing there to judge yet.", ""]
    return "\n".join(lines)


def _words(status: Status) -> str:
    return status.value.replace("_", " ")


def _cell(text: str) -> str:
    """Return text that stays in its cell and is no markup: names come from data."""
    flat = " ".join(text.split())
    return re.sub(r"([\\`*_\[\]|#~])", r"\\\1", flat).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def to_openmetrics(run: Run) -> str:
    """Return the run in the OpenMetrics text format, for a textfile collector or a push gateway.

    The day is a sample and no label: series must not be born anew every day. `check_instance`: `instance` is the
    scraper's own label.
    """
    head = [
        *_family("funnelgate_checks_run", "info", "The last run of the checks."),
        _sample("funnelgate_checks_run_info", {"run_id": run.run_id, "config_hash": run.config_hash}, 1),
        *_family("funnelgate_checks_as_of_seconds", "gauge", "The moment of the records judged.", "seconds"),
        _sample("funnelgate_checks_as_of_seconds", {}, run.as_of.timestamp()),
        *_family("funnelgate_checks_date_seconds", "gauge", "The business day judged, at 0:00 UTC.", "seconds"),
        _sample("funnelgate_checks_date_seconds", {}, datetime.combine(run.date, time(), UTC).timestamp()),
        *_family("funnelgate_checks_status", "stateset", "What the run came to."),
    ]
    head += [
        _sample("funnelgate_checks_status", {"funnelgate_checks_status": status.value}, run.status == status)
        for status in Status
    ]
    head += _family("funnelgate_checks_results", "gauge", "Results by status.")
    counts = Counter(result.status for result in run.results)
    head += [_sample("funnelgate_checks_results", {"status": status.value}, counts[status]) for status in Status]
    head += _family("funnelgate_check_status", "gauge", "One for each instance of a check, with its status.")
    head += [_sample("funnelgate_check_status", {**_labels(one), "status": one.status.value}, 1) for one in run.results]
    for name, told in _GAUGES.items():
        head += _family(f"funnelgate_check_{name}", "gauge", told)
        head += [
            _sample(f"funnelgate_check_{name}", _labels(one), number)
            for one in run.results
            if (number := getattr(one, name)) is not None
        ]
    return "\n".join([*head, "# EOF", ""])


def _labels(result: Result) -> dict[str, str]:
    return {"check": result.id, "kind": result.kind, "check_instance": result.instance, "task": result.key.task}


def _family(name: str, kind: str, told: str, unit: str | None = None) -> list[str]:
    lines = [f"# TYPE {name} {kind}"]
    lines += [] if unit is None else [f"# UNIT {name} {unit}"]
    return [*lines, f"# HELP {name} {told}"]


def _sample(name: str, labels: Mapping[str, str], value: float) -> str:
    written = ",".join(f'{label}="{_escaped(text)}"' for label, text in labels.items())
    number = repr(int(value)) if float(value).is_integer() else repr(float(value))
    return f"{name}{{{written}}} {number}" if written else f"{name} {number}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
