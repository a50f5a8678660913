"""The commands of the checks say of a day in PostgreSQL what they say of it in SQLite, and keep it there."""

from __future__ import annotations

from datetime import date as Date
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import typer

from checks import cli as cli_checks
from checks import cli_backtest, cli_incidents
from reporting.errors import EXIT_FAILED, EXIT_OK
from reporting.plans import Leaf
from tests.checks.command import Ended, call, new_project
from tests.checks.schemas import follow
from tests.checks.world import World
from tests.contracts.conftest import Postgres, postgres

__all__ = ["postgres"]

pytestmark = [pytest.mark.slow, pytest.mark.postgres]

DAY = Date(2024, 6, 5)
"""Long over, whatever clock this machine has."""
RUINED = World(rows=20).ruin(Leaf("crop", DAY, "all", "0002"))
MENDED = RUINED.rerun("repair", ["crop"], on=DAY, subinstances=("0002",))
_PASSING = {"run_id", "as_of", "episode", "opened_at", "updated_at", "fired_at", "closed_at", "at"}
"""Keys that tell moments of the clock, and what is made of them."""


def lasting(document: Any) -> Any:
    """Return a document without what the clock decides."""
    if isinstance(document, list):
        return [lasting(one) for one in document]
    if isinstance(document, dict):
        return {key: lasting(value) for key, value in document.items() if key not in _PASSING}
    return document


def run_checks(app: typer.Typer) -> None:
    app.command("run")(cli_checks.run)


def asked(settings: Path) -> dict[str, Ended]:
    """Ask each command once."""
    day, before = str(DAY), str(DAY - timedelta(days=1))
    return {
        "checks-run": call(run_checks, settings, "run", "--date", day, "--json"),
        "incidents": call(cli_incidents.add_to, settings, "list", "--all", "--json"),
        "checks-backtest": call(cli_backtest.add_to, settings, "backtest", "--from", before, "--to", day, "--json"),
    }


def test_a_lost_package_and_its_repair_read_alike_in_both(tmp_path: Path, postgres: Postgres) -> None:
    days = [DAY - timedelta(days=back) for back in range(3, -1, -1)]
    told = []
    for name, url in {"sqlite": "sqlite:///store.db", "postgres": postgres.migrated_database()}.items():
        settings = new_project(tmp_path / name, RUINED, days, url)
        broken = asked(settings)
        assert [ended.code for ended in broken.values()] == [EXIT_FAILED, EXIT_OK, EXIT_OK]
        for schema, ended in broken.items():
            follow(schema, ended.json())
        (incident,) = broken["incidents"].json()
        assert (incident["state"], incident["sentence"].partition(": ")[2]) == ("firing", "subinstance=0002")
        acted = call(cli_incidents.add_to, settings, "ack", incident["episode"], "--by", "ann", "--json").json()
        assert (acted["state"], acted["acknowledged"]["by"]) == ("acknowledged", "ann")
        new_project(tmp_path / name, MENDED, [DAY], url)
        mended = asked(settings)
        (incident,) = mended["incidents"].json()
        assert (incident["state"], incident["note"]) == ("superseded", "superseded by repair")
        told.append([lasting(ended.json()) for ended in (*broken.values(), *mended.values())])
    assert told[0] == told[1]
