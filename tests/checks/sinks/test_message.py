"""The words: in the order people need them, of the length a service reads, and of nothing that steers a terminal."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from checks.incidents import Event, Hold, Impact, IncidentState, Said, Severity
from checks.result import Cause
from checks.sinks.message import addresses, body_of, cut, lines, one_line, text, title
from reporting.testing import DAY, MOMENT
from tests.checks.sinks.notice_factory import make_incident, make_notice, make_result

LINKS = {"kibana": "https://kibana.example/app?task={task}&date={date}", "page": "https://x.example/{episode}"}


def impact(task: str, **changes) -> Impact:
    fields = {
        "fingerprint": task,
        "check": "volume",
        "kind": "drift",
        "instance": task,
        "task": task,
        "severity": Severity.WARN,
        "size": 1.0,
        "reason": f"{task} is low",
    }
    return Impact(**{**fields, **changes})


def full_incident(**changes):
    result = make_result(details={"unit": "images", "last_change": "detect model d7 -> d8"})
    return make_incident(
        result=result,
        impact=(impact("crop"), impact("embed", holds=(Hold(task="index", date=DAY),))),
        runbook="https://wiki.example/detect",
        owner="vision",
        **changes,
    )


def test_the_facts_come_in_the_order_people_need_them():
    notice = make_notice(incident=full_incident())
    found = lines(notice, LINKS)
    order = [
        "check funnel-edges (reconcile) of quality -> detect, 2026-11-01, plan daily: detect took in",
        "size: 41,207 images missing, 4.12 % (958,793 of 1,000,000)",
        "where: 93 % of 41,207 missing images: subinstance=0017",
        "first seen 2026-11-01 06:00 UTC",
        "impact: crop, embed (2 checks)",
        "held until resolved or waived: index",
        "owner: vision",
        "last change: detect model d7 -> d8",
        "kibana: https://kibana.example/app?task=detect&date=2026-11-01",
        "page: https://x.example/",
        "runbook: https://wiki.example/detect",
        "repair: funnelgate run --kind rerun",
        f"acknowledge: funnelgate incidents ack {notice.incident.episode}",
        f"snooze: funnelgate incidents snooze {notice.incident.episode} --for 4h --why TEXT",
        f"waive: funnelgate incidents waive {notice.incident.episode} --why TEXT",
    ]
    assert [line.startswith(start) for line, start in zip(found, order, strict=True)] == [True] * len(order), found


def test_the_title_says_how_urgent_what_where_and_when():
    notice = make_notice(incident=make_incident())
    assert title(notice) == ("[PAGE] quality->detect on 2026-11-01: 93 % of 41,207 missing images: subinstance=0017")
    assert title(make_notice(Event.UPDATE, 2, incident=make_incident())).startswith("[PAGE, worse]")
    assert title(make_notice(incident=make_incident(severity=Severity.WARN))).startswith("[warn]")
    done = make_incident(state=IncidentState.SUPERSEDED, note="superseded by rerun-1")
    assert title(make_notice(Event.RESOLVE, incident=done)).startswith("[superseded]")


def test_what_is_over_says_how_and_asks_for_nothing_more():
    done = make_incident(state=IncidentState.RESOLVED, note="re-run", closed_by="ada", impact=(impact("crop"),))
    found = lines(make_notice(Event.RESOLVE, incident=done), {})
    assert found[1:] == [
        "resolved by ada: re-run",
        "first seen 2026-11-01 06:00 UTC, ended 2026-11-01 08:00 UTC",
    ]


def test_who_has_it_stands_there_and_nobody_is_asked_again():
    taken = make_incident(acknowledged=Said(by="ada", at=MOMENT + timedelta(minutes=5), why="on it"))
    found = lines(make_notice(Event.ACKNOWLEDGE, incident=taken), {})
    assert "acknowledged by ada at 2026-11-01 06:05 UTC: on it" in found
    assert not any("incidents ack" in line for line in found)


def test_a_storm_is_told_by_its_members():
    storm = make_incident(members=tuple(f"e{n}" for n in range(30)), result=make_result(reason="30 breaks at once"))
    notice = make_notice(Event.SUMMARY, incident=storm)
    assert title(notice).startswith("[PAGE] 30 incidents at once on 2026-11-01")
    assert lines(notice, {})[0].endswith("e7 and 22 more)")


@pytest.mark.parametrize(
    ("value", "expected", "line"),
    [
        (1100.0, 1000.0, "size: 100 items too many, 10 % (1,100 of 1,000)"),
        (0.25, 0.5, "size: 0.25 items missing, 50 % (0.25 of 0.5)"),
        (3.0, 0.0, "size: 3 items too many (3 of 0)"),
    ],
)
def test_a_size_is_told_with_its_sign_and_share(value, expected, line):
    result = make_result(value=value, expected=expected, explain=(), details={})
    assert line in lines(make_notice(incident=make_incident(result=result)), {})


def test_what_cancels_in_the_sum_is_broken_all_the_same():
    causes = tuple(
        Cause(where={"subinstance": (name,)}, missing=lost, share=0.5) for name, lost in (("1", 7), ("2", -7))
    )
    result = make_result(value=100.0, expected=100.0, explain=causes)
    found = lines(make_notice(incident=make_incident(result=result)), {})
    assert "size: 14 images missing or too many, 14 % (100 of 100)" in found


def test_a_result_without_numbers_has_no_size():
    result = make_result(value=None, explain=())
    assert not any(line.startswith("size") for line in lines(make_notice(incident=make_incident(result=result)), {}))


@given(whole=st.text(max_size=200), limit=st.integers(3, 120), tail=st.sampled_from(["...", "\n... (cut) show 鞋"]))
def test_a_cut_text_fits_is_valid_and_begins_as_the_whole(whole, limit, tail):
    found = cut(whole, limit, tail)
    assert len(found.encode()) <= limit
    if len(whole.encode()) <= limit:
        assert found == whole
    else:
        kept = found.removesuffix(tail).removesuffix("...")
        assert whole.startswith(kept)
        assert found.endswith((tail, "..."))


@settings(max_examples=40)
@given(reason=st.text(max_size=300))
def test_no_line_holds_what_ends_a_line_or_steers_a_terminal(reason):
    incident = make_incident(result=make_result(reason=reason or "x", sentence=reason))
    for line in [title(make_notice(incident=incident)), *lines(make_notice(incident=incident), LINKS)]:
        assert line
        assert line.isprintable()
    assert one_line("a\x1b[31m\r\n b\u202e") == "a[31m b"


def test_a_long_message_says_where_the_whole_stands():
    notice = make_notice(incident=full_incident())
    found = text(notice, LINKS, 300)
    assert len(found.encode()) <= 300
    assert found.endswith(f"... (cut) funnelgate incidents show {notice.incident.episode}")
    assert text(notice, LINKS, 100_000).splitlines() == [title(notice), *lines(notice, LINKS)]


def test_a_link_cannot_be_bent_by_what_is_filled_in():
    result = make_result(key=make_result().key.model_copy(update={"group": {"category": "a&b/../#鞋"}}))
    found = addresses(make_incident(result=result), {"k": "https://k.example/?c={category}&s={subinstance}"})
    assert found == {"k": "https://k.example/?c=a%26b%2F..%2F%23%E9%9E%8B&s="}


def test_the_whole_incident_is_in_the_body():
    notice = make_notice(incident=full_incident())
    found = body_of(notice, LINKS)
    assert found["incident"]["result"]["explain"][0]["where"] == {"subinstance": ["0017"]}
    assert found["notice_id"] == f"{notice.incident.episode}|trigger|1|pager"
