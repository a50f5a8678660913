"""An empty store of each SQL kind, on one PostgreSQL for all tests of the folder."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from reporting.stores import open_store
from reporting.stores.sql import SqlStore
from tests.contracts.conftest import Postgres, postgres

__all__ = ["postgres"]

# To start a server takes longer than all of these tests on SQLite.
KINDS = ("sqlite", pytest.param("postgres", marks=[pytest.mark.postgres, pytest.mark.slow]))


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite store without rows: to copy it takes a hundredth of making its tables."""
    file = tmp_path_factory.mktemp("migrated") / "store.db"
    open_store(f"sqlite:///{file}").close()
    return file


@pytest.fixture(params=KINDS)
def store(request: pytest.FixtureRequest, tmp_path: Path, migrated_file: Path) -> Iterator[SqlStore]:
    if request.param == "sqlite":
        shutil.copy(migrated_file, tmp_path / "store.db")
        url = f"sqlite:///{tmp_path / 'store.db'}"
    else:
        server: Postgres = request.getfixturevalue("postgres")
        url = server.migrated_database()
    with open_store(url) as found:
        yield found
