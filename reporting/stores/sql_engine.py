"""Engines for SQLite (WAL) and PostgreSQL, and the schema they carry.

SQLite: writers say BEGIN IMMEDIATE, so two of them queue instead of failing half-way with
"database is locked"; readers run in autocommit and never block a writer (WAL).
"""

from __future__ import annotations

import fcntl
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, create_engine, event, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError

from reporting.errors import ConfigError, StoreError
from reporting.logs import redact

SCHEMA_HEAD = "0005"
"""The newest migration; a test compares it with the scripts."""

BUSY_TIMEOUT_SECONDS = 60
READING = "funnelgate_reading"
"""Execution option of connections that only read: SQLAlchemy announces a transaction even in autocommit."""
_MIGRATION_LOCK = 0x66756E6E  # any fixed number: "funn"


def make_engine(url: str) -> Engine:
    """Return an engine with our settings; nothing is connected yet.

    Raises:
        ConfigError: the URL cannot be read.
    """
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise ConfigError(f"store.url {redact(url)!r} is not a database URL: {error}") from None
    if parsed.get_backend_name() == "sqlite":
        return _sqlite_engine(parsed)
    return create_engine(parsed.set(drivername="postgresql+psycopg"), pool_pre_ping=True)


def _sqlite_engine(url: URL) -> Engine:
    if not url.database or url.database == ":memory:":
        raise ConfigError("store.url: sqlite needs a file (sqlite:///path.db); several processes share it")
    folder = Path(url.database).parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"{folder}: the store's folder cannot be made: {error}") from error
    engine = create_engine(
        url,
        connect_args={"timeout": BUSY_TIMEOUT_SECONDS, "check_same_thread": False},
        # Every transaction here is ended by its own block; a rollback on each return would only cost time.
        pool_reset_on_return=None,
    )

    @event.listens_for(engine, "connect")
    def _on_connect(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # we say BEGIN ourselves
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")
        connection.execute("PRAGMA foreign_keys=ON")

    @event.listens_for(engine, "begin")
    def _on_begin(connection: Any) -> None:
        if not connection.get_execution_options().get(READING):
            connection.connection.driver_connection.execute("BEGIN IMMEDIATE")

    return engine


def reader(engine: Engine) -> Engine:
    """Return the engine for reading: same pool, no transaction, every SELECT sees the latest commit."""
    if engine.dialect.name == "sqlite":
        return engine.execution_options(**{READING: True})
    return engine.execution_options(isolation_level="AUTOCOMMIT")


@contextmanager
def store_errors(where: str) -> Iterator[None]:
    """Turn database errors into StoreError with fact, place and remedy."""
    try:
        yield
    except (DBAPIError, sqlite3.Error) as error:  # the second from BEGIN, which goes to the driver itself
        cause = str(error.orig if isinstance(error, DBAPIError) else error)
        remedy = "check that the database is there, writable and has free disk; nothing of this step was kept"
        raise StoreError(f"{where}: {redact(cause)}; {remedy}") from error


def upgrade(engine: Engine) -> None:
    """Bring the schema to SCHEMA_HEAD; safe when several processes start at once.

    Raises:
        StoreError: the database cannot be reached, or belongs to a newer funnelgate.
    """
    where = redact(engine.url.render_as_string(hide_password=True))
    with store_errors(where):
        if _version(engine) == SCHEMA_HEAD:
            return
        with _alone(engine):
            found = _version(engine)
            if found is not None and found > SCHEMA_HEAD:
                raise StoreError(
                    f"{where}: schema {found} is newer than this program ({SCHEMA_HEAD}); upgrade funnelgate"
                )
            if found != SCHEMA_HEAD:
                _run_migrations(engine)


def _version(engine: Engine) -> str | None:
    from sqlalchemy import inspect

    with reader(engine).connect() as connection:
        if not inspect(connection).has_table("alembic_version"):
            return None
        return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()


def _run_migrations(engine: Engine) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent.parent / "migrations"))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


@contextmanager
def _alone(engine: Engine) -> Iterator[None]:
    """Hold a lock over the migration: a file beside SQLite, an advisory lock in PostgreSQL."""
    if engine.dialect.name == "sqlite":
        with Path(f"{engine.url.database}.migrate").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield
        return
    with engine.connect() as connection:
        connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": _MIGRATION_LOCK})
        try:
            yield
        finally:
            connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": _MIGRATION_LOCK})
