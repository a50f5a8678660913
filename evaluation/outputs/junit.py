"""junit.xml: one test case for each rule, slice and baseline, in the form that Jenkins keeps (junit-10.xsd).

A CI server that reads this file alone must come to the gate's own decision: what blocks is a failure or an error, what
only warns, is waived or does not apply is skipped, with its message.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from xml.etree import ElementTree

from evaluation.verdict import GateVerdict, RuleResult

NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 (2.2) allows nobody to write, not even escaped: an error's message may hold it."""


def junit_bytes(verdict: GateVerdict) -> bytes:
    """Return a verdict as JUnit XML; a suite for each rule, properties with what it is about."""
    suites = ElementTree.Element("testsuites", {"name": _xml(f"gate: {verdict.verdict}")})
    by_rule: dict[str, list[RuleResult]] = {}
    for result in verdict.rules:
        by_rule.setdefault(result.id, []).append(result)
    for rule, results in by_rule.items():
        suite = _suite(suites, rule, Counter(_kind(result) for result in results), verdict)
        for result in results:
            _case(suite, result)
    if verdict.verdict != "PASS" and not any(_kind(result) in ("failure", "error") for result in verdict.rules):
        # No rule could be applied: with skipped cases alone a reader of this file would see green.
        suite = _suite(suites, "verdict", Counter({"failure": 1}), verdict)
        case = ElementTree.SubElement(suite, "testcase", {"classname": "gate", "name": "verdict", "time": "0"})
        told = {"message": _xml(verdict.reason), "type": verdict.verdict.lower()}
        ElementTree.SubElement(case, "failure", told).text = _xml(verdict.reason)
    ElementTree.indent(suites)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ElementTree.tostring(suites, encoding="unicode")}\n'.encode()


def _suite(
    suites: ElementTree.Element, rule: str, kinds: Counter[str | None], verdict: GateVerdict
) -> ElementTree.Element:
    counts = {"failures": kinds["failure"], "errors": kinds["error"], "skipped": kinds["skipped"]}
    attributes = {"name": _xml(f"gate.{rule}"), "tests": str(kinds.total()), "time": "0"}
    suite = ElementTree.SubElement(suites, "testsuite", attributes | {name: str(n) for name, n in counts.items()})
    properties = ElementTree.SubElement(suite, "properties")
    about = {"verdict": verdict.verdict, "set": verdict.set_id, "candidate": verdict.candidate, **verdict.baselines}
    about |= {"as_of": verdict.as_of.isoformat(), "tool": verdict.tool, "config": verdict.inputs.get("config", "")}
    for name, value in about.items():
        ElementTree.SubElement(properties, "property", {"name": _xml(name), "value": _xml(value)})
    return suite


def _kind(result: RuleResult) -> str | None:
    if result.status == "pass":
        return None
    if result.status == "error":
        return "error"
    if result.status in ("waived", "not_applicable") or result.warns:
        return "skipped"
    return "failure"


def _case(suite: ElementTree.Element, result: RuleResult) -> None:
    versus = "" if result.vs is None else f" vs {result.vs}"
    names = {"classname": _xml(f"gate.{result.id}"), "name": _xml(f"{result.metric} {result.slice}{versus}")}
    case = ElementTree.SubElement(suite, "testcase", names | {"time": "0"})
    kind = _kind(result)
    if kind is None:
        ElementTree.SubElement(case, "system-out").text = _xml(result.reason)
        return
    message = f"only warns: {result.reason}" if result.warns else result.reason
    told = {"message": _xml(message)} | ({} if kind == "skipped" else {"type": result.status})
    ElementTree.SubElement(case, kind, told).text = _xml("\n".join([message, *_numbers(result)]))


def _numbers(result: RuleResult) -> Iterator[str]:
    """Yield the figures, one a line."""
    if result.value is not None:
        yield f"value: {result.value:.6g}"
    if result.interval is not None:
        yield f"interval: {result.interval[0]:.6g} .. {result.interval[1]:.6g}"
    yield f"limit: {result.limit:.6g}"
    for name in ("n", "clusters", "flipped", "needed"):
        number = getattr(result, name)
        if number is not None:
            yield f"{name}: {number:g}" if isinstance(number, float) else f"{name}: {number}"
    if result.worst:
        yield f"worst: {', '.join(result.worst)}"
    if result.waiver is not None:
        one = result.waiver
        yield f"waived until {one.expires} by {one.approver}: {one.reason} {one.evidence}".rstrip()


def _xml(text: str) -> str:
    return NO_XML.sub("\ufffd", text)
