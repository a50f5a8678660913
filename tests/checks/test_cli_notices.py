"""`funnelgate checks notices` as people and programs use it."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import delete

from checks import notices
from checks.cli_notices import add_to
from checks.incidents import Event
from checks.sinks.settings import LogSink
from reporting.errors import UsageError
from reporting.stores import open_store
from reporting.stores.sql_work import iso
from reporting.tables import notice
from tests.checks.command import Ended, call, new_project
from tests.checks.sinks.notice_factory import make_draft, make_incident
from tests.checks.world import World

WRITTEN = datetime.now(UTC) - timedelta(hours=2)
ONE, TWO = make_incident("one"), make_incident("two")


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four notices: of the pager one sent, one dead and one waiting, and one dead of a sink that is gone."""
    folder = tmp_path_factory.mktemp("notices")
    settings = new_project(folder, World(), [])
    with_sink = "checks: {sinks: [{kind: log, name: pager}], "
    settings.write_text(settings.read_text().replace("checks: {", with_sink))
    with open_store(f"sqlite:///{folder / 'store.db'}") as store, store.begin() as work:
        drafts = [make_draft(incident=ONE), make_draft(incident=TWO), make_draft(Event.UPDATE, incident=TWO)]
        notices.queue_notices(work.connection, drafts, [LogSink(kind="log", name="pager")], WRITTEN)
        notices.queue_notices(work.connection, drafts[:1], [LogSink(kind="log", name="gone")], WRITTEN)
        row = notices.next_of(work.connection, "pager", WRITTEN)
        notices.settle(work.connection, row, state="sent", sent_at=iso(WRITTEN))
        row = notices.next_of(work.connection, "pager", WRITTEN)
        notices.settle(work.connection, row, state="dead", error="https://pager answered 400:\nno [such] key")
        notices.bury_orphans(work.connection, ["pager"], datetime.now(UTC), "no sink of this name")
    return folder


@pytest.fixture
def project(template: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(template, tmp_path / "project")) / "funnelgate.yaml"


def asked(project: Path, *arguments: str) -> Ended:
    return call(add_to, project, "notices", *arguments)


def test_what_waits_and_what_is_dead_is_listed_with_why(project):
    found = asked(project, "--json").json()
    assert [(one["sink"], one["waiting"], one["sent"], one["dead"], one["configured"]) for one in found["sinks"]] == [
        ("gone", 0, 0, 1, False),
        ("pager", 1, 1, 1, True),
    ]
    assert [(one["id"], one["sink"], one["state"], one["event"], one["attempts"]) for one in found["notices"]] == [
        (4, "gone", "dead", "trigger", 0),
        (3, "pager", "waiting", "update", 0),
        (2, "pager", "dead", "trigger", 1),
    ]
    assert found["notices"][2]["error"] == "https://pager answered 400:\nno [such] key"
    (sent,) = asked(project, "--state", "sent", "--json").json()["notices"]
    assert (sent["id"], sent["episode"], sent["sent_at"]) == (
        1,
        ONE.episode,
        WRITTEN.isoformat().replace("+00:00", "Z"),
    )


def test_people_read_a_line_a_notice_that_no_terminal_breaks(project):
    first, second, *lines = asked(project).out.splitlines()
    assert first == "gone (not in the settings): 0 waiting; 0 sent; 1 dead; last error: no sink of this name"
    error = "https://pager answered 400: no [such] key"
    waited = (datetime.now(UTC) - WRITTEN) / timedelta(hours=1)  # the clock goes on while other tests run
    assert second in {
        f"pager: 1 waiting, the oldest for {hours:.1f} h; 1 sent; 1 dead; last error: {error}"
        for hours in (waited, waited - 0.05)
    }
    assert [line.split()[0] for line in lines] == ["4", "3", "2"]
    assert lines[1].endswith(f"{TWO.episode}  never tried")
    assert lines[2].endswith(f"{TWO.episode}  tried 1 time: {error}")
    assert asked(project, "--sink", "gone").out.count("\n") == 2


def test_the_dead_are_revived_all_of_them_or_by_sink_or_by_number(project):
    assert asked(project, "4", "--sink", "pager", "--revive", "--json").json()["revived"] == 0
    one = asked(project, "2", "--revive", "--json").json()
    assert (one["revived"], [(row["id"], row["state"]) for row in one["notices"]]) == (1, [(2, "waiting")])
    rest = asked(project, "--revive")
    assert rest.out.splitlines()[-1] == "1 to be sent again, with the next `funnelgate checks watch` or `run`"
    assert asked(project, "--state", "dead", "--json").json()["notices"] == []


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--state", "ded"), "did you mean dead?"),
        (("--sink", "pagr"), "did you mean pager?"),
        (("7", "2"), "there is no notice 7;"),
        (("--revive", "--state", "sent"), "leave --state out"),
    ],
)
def test_a_wrong_word_is_said_with_the_right_one(project, arguments, says):
    with pytest.raises(UsageError, match=says.replace("?", r"\?")):
        asked(project, *arguments)


def test_where_nothing_was_ever_written_it_says_so(project):
    with open_store(f"sqlite:///{project.with_name('store.db')}") as store, store.begin() as work:
        work.connection.execute(delete(notice))
    assert asked(project).out == "no notice was ever written\n"
    assert asked(project, "--json").json() == {"sinks": [], "notices": []}
