"""Projects that several tests of the pipeline read, and stores in SQLite and PostgreSQL."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from sqlalchemy import text

import funnelgate
from reporting import tables as t
from reporting.stores import open_store
from reporting.stores.sql import SqlStore
from tests.contracts.conftest import Postgres, postgres
from tests.pipeline.arrivals import DAYS, arrive
from tests.pipeline.old_days import six_days
from tests.pipeline.project import Project, new_project, run_here

__all__ = ["copy_of", "main_in", "postgres", "postgres_url", "sqlite_store", "sqlite_template", "store", "three_days"]


@pytest.fixture(scope="session")
def three_days(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Three days with known faults, run to their end. Read only: change a `copy_of` it."""
    project = new_project(tmp_path_factory.mktemp("three") / "days", package_items=10)
    arrive(project)
    run_here(project, *DAYS)
    return project


@pytest.fixture(scope="session")
def kept_days(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Six days of which nothing has given up its bytes. Read only: change a `copy_of` it."""
    return six_days(tmp_path_factory.mktemp("kept") / "days")


@pytest.fixture
def copy_of(tmp_path: Path) -> Callable[[Project], Project]:
    """Copy a finished project, to change it."""

    def copy(project: Project) -> Project:
        return Project(Path(shutil.copytree(project.folder, tmp_path / "copy")))

    return copy


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty store, migrated once."""
    path = tmp_path_factory.mktemp("sqlite") / "migrated.db"
    open_store(f"sqlite:///{path}").close()
    return path


@pytest.fixture(scope="session")
def postgres_url(postgres: Postgres) -> str:
    """One migrated database for all tests of this folder."""
    return postgres.migrated_database()


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def store(request: pytest.FixtureRequest, tmp_path: Path, sqlite_template: Path) -> Iterator[SqlStore]:
    """An empty store, once in SQLite and once in PostgreSQL."""
    if request.param == "sqlite":
        url = f"sqlite:///{shutil.copy(sqlite_template, tmp_path / 'store.db')}"
    else:
        url = request.getfixturevalue("postgres_url")
    with open_store(url) as opened:
        if opened.dialect != "sqlite":  # emptied, not made anew: a database costs 7 MB of disk
            names = ", ".join(table.name for table in t.metadata.sorted_tables)
            with opened.begin() as work:
                work.connection.execute(text(f"TRUNCATE {names} RESTART IDENTITY CASCADE"))
        yield opened


@pytest.fixture
def sqlite_store(tmp_path: Path, sqlite_template: Path) -> Iterator[SqlStore]:
    """An empty store in SQLite."""
    with open_store(f"sqlite:///{shutil.copy(sqlite_template, tmp_path / 'store.db')}") as opened:
        yield opened


class Ended(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str


@pytest.fixture
def main_in(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Ended]:
    """Run `funnelgate ARGUMENTS` in this process, in a folder: for commands that end before any worker starts."""

    def main(folder: Path, *arguments: str) -> Ended:
        monkeypatch.chdir(folder)
        monkeypatch.setattr(sys, "argv", ["funnelgate", *arguments])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            funnelgate.main()
        printed = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return Ended(ended.value.code, printed.out, printed.err)

    return main
