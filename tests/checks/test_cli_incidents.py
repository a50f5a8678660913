"""`funnelgate incidents` as people and programs use it."""

from __future__ import annotations

import json
import re
import sys
from datetime import UTC, datetime, timedelta

import pytest

from checks.acting import act
from checks.cli_incidents import parse_duration
from funnelgate import main
from reporting.errors import UsageError
from reporting.stores import open_store
from tests.checks.broken import DAY, GRAPH, Rule, result

COMMANDS = ("ack", "snooze", "resolve", "waive", "show")
BROKEN = result(
    "crop",
    kind="reconcile",
    source="detect",
    check="edges",
    causes=[{"subinstance": ["0003"]}],
).model_copy(
    update={"sentence": "100 % of 10 missing items: subinstance=0003", "repair": "funnelgate run --kind rerun"}
)
RULES = {"edges": Rule(id="edges", block=True, owner="vision", runbook="https://wiki/edges")}
NOW = datetime.now(UTC) - timedelta(hours=2)


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """A store with two incidents, one of which holds something and has impact."""
    path = tmp_path_factory.mktemp("incidents") / "store.db"
    with open_store(f"sqlite:///{path}") as store, store.begin() as work:
        act(work, [BROKEN, result("embed", kind="drift")], topology=GRAPH, now=NOW, rules=RULES, sinks=())
        act(work, [result(date=DAY - timedelta(days=9))], topology=GRAPH, now=NOW, rules={}, sinks=())
    return path.read_bytes()


@pytest.fixture
def run(tmp_path, monkeypatch, capsys, template):
    """Run `funnelgate incidents ARGUMENTS` in this process, on a copy of the store."""
    (tmp_path / "store.db").write_bytes(template)
    (tmp_path / "funnelgate.yaml").write_text(
        "store:\n  url: sqlite:///store.db\nchecks:\n  sinks: [{kind: log, name: log}]\n"
    )
    monkeypatch.chdir(tmp_path)

    def invoke(*arguments, code=0):
        monkeypatch.setattr(sys, "argv", ["funnelgate", "incidents", *arguments])
        monkeypatch.setenv("COLUMNS", "200")
        capsys.readouterr()
        with pytest.raises(SystemExit) as stopped:
            main()
        captured = capsys.readouterr()
        assert stopped.value.code == code, captured.err
        assert "Traceback" not in captured.err
        return captured.err if code else json.loads(captured.out) if "--json" in arguments else captured.out

    return invoke


def listed(run, *options):
    return {one["check"]: one for one in run("list", "--json", *options)}


def test_the_list_for_programs_has_what_where_how_much_and_what_mends_it(run):
    found = listed(run)["edges"]
    assert {name: found[name] for name in ("state", "severity", "kind", "instance", "status", "owner", "size")} == {
        "state": "firing",
        "severity": "page",
        "kind": "reconcile",
        "instance": "detect->crop",
        "status": "fail",
        "owner": "vision",
        "size": 10,
    }
    assert found["key"] == {"task": "crop", "source": "detect", "date": DAY.isoformat(), "planid": None, "group": {}}
    assert found["explain"] == [{"where": {"subinstance": ["0003"]}, "missing": 10, "share": 1}]
    assert found["sentence"] == "100 % of 10 missing items: subinstance=0003"
    assert found["repair"] == "funnelgate run --kind rerun"
    assert [one["task"] for one in found["impact"]] == ["embed"]
    assert {hold["task"] for hold in found["holds"]} == {"categorise", "embed", "index", "merge", "release"}


def test_the_list_for_people_has_two_lines_an_incident_and_breaks_no_id(run):
    lines = run("list").splitlines()
    assert len(lines) == 4
    ((at, line),) = [(at, one) for at, one in enumerate(lines) if "edges detect->crop" in one]
    assert line.startswith("firing page")
    assert line.endswith(listed(run)["edges"]["episode"])
    assert "100 % of 10 missing items: subinstance=0003" in lines[at + 1]
    assert re.search(r"since 2\.\d h; also broken: 1", lines[at + 1])


@pytest.mark.slow
def test_lists_can_be_narrowed_by_day_and_state(run):
    assert set(listed(run, "--date", DAY.isoformat())) == {"edges"}
    assert set(listed(run, "--to", (DAY - timedelta(days=1)).isoformat())) == {"conservation"}
    assert listed(run, "--state", "resolved") == {}
    assert run("list", "--state", "resolved") == "no incident\n"
    assert "there is no such state; did you mean firing" in run("list", "--state", "fireing", code=2)
    assert "give either --date, or --from and --to" in run("list", "--date", "2026-11-05", "--to", "2026-11-05", code=2)


def test_all_of_an_incident_is_shown_with_its_history(run):
    episode = listed(run)["edges"]["episode"]
    run("ack", episode, "--by", "ann", "--why", "looking at [crop]")
    shown = run("show", episode[:12])
    for part in (
        "detect -> crop",
        "by ann at",
        "looking at [crop]",
        "categorise of 2026-11-05, subinstance 0003",
        "funnelgate run --kind rerun",
        "https://wiki/edges",
        "drift embed",
    ):
        assert part in shown
    history = run("show", episode, "--json")["history"]
    assert [(one["kind"], one["who"]) for one in history] == [
        ("open", "funnelgate"),
        ("fire", "funnelgate"),
        ("acknowledge", "ann"),
    ]


def test_a_snooze_waive_and_resolve_are_kept(run):
    episode = listed(run)["edges"]["episode"]
    asleep = run("snooze", episode, "--for", "4h", "--why", "noon", "--by", "ann", "--json")["snooze"]
    length = datetime.fromisoformat(asleep["until"]) - datetime.fromisoformat(asleep["at"])
    assert (length, asleep["by"]) == (timedelta(hours=4), "ann")
    assert "firing (snoozed)" in run("list")
    assert run("waive", episode, "--why", "the release is due", "--by", "bob", "--json")["waiver"]["by"] == "bob"
    ended = run("resolve", episode, "--why", "a holiday", "--benign", "--by", "bob", "--json")
    assert (ended["state"], ended["closed_by"], ended["benign"]) == ("resolved", "bob", True)
    assert set(listed(run)) == {"conservation"}
    assert set(listed(run, "--all")) == {"conservation", "edges"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("ack", "nothing"), "there is no incident 'nothing'; "),
        (("ack", ""), "begins several incidents: "),
        (("snooze", ""), "a snooze has an end: give either --for, as in --for 4h, or --until"),
        (("snooze", "", "--for", "4 weeks"), "'4 weeks' is no length of time; write it as in 30m, 4h, 2d or 1w"),
        (("ack", "", "--by", "a\nb"), "write one line of 1 to 128 characters"),
    ],
)
def test_what_makes_no_sense_ends_with_2_and_says_what_would(run, arguments, message):
    assert message in run(*arguments, code=2)


@pytest.mark.slow
def test_what_has_no_reason_holds_nothing_or_has_ended_ends_with_2(run):
    found = listed(run)
    edges, other = found["edges"]["episode"], found["conservation"]["episode"]
    assert "needs a reason: --why TEXT" in run("resolve", edges, code=2)
    assert "holds nothing; only a failing check with `block: true` does" in run("waive", other, "--why", "x", code=2)
    assert "is over already" in run("snooze", edges, "--until", "2026-01-01", code=2)
    assert "longer than 30 days" in run("snooze", edges, "--for", "5w", code=2)
    assert "longer than 30 days" in run("snooze", edges, "--for", "9999w", code=2)
    run("resolve", edges, "--why", "x", "--by", "ann")
    assert "is resolved by ann and cannot be acknowledged" in run("ack", edges, code=2)


@pytest.mark.slow
@pytest.mark.parametrize("command", [*COMMANDS, "list"])
def test_every_command_has_help_with_an_example(run, command):
    assert "Example:" in run(command, "--help")


@pytest.mark.slow
def test_without_any_incident_the_list_says_so(run, tmp_path):
    (tmp_path / "store.db").unlink()
    assert run("list") == "no open incident\n"
    assert run("list", "--json") == []
    assert "none has been opened here" in run("show", "x", code=2)


@pytest.mark.parametrize("text", ["", "4", "h", "-1h", "1.5h", "99999w", "1y"])
def test_lengths_of_time_are_a_whole_number_and_a_unit(text):
    with pytest.raises(UsageError, match="is no length of time"):
        parse_duration(text)
