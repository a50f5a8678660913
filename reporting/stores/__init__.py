"""Stores of records behind one protocol; the same contract tests run over each.

Recipe to add a store: write one file here with a class that follows `base.RecordStore`, add one line to
`open_store` below, and add it to `STORES` in `tests/contracts/conftest.py`.
Split this way so that nobody who uses one store imports the libraries of another.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from reporting.errors import ConfigError

if TYPE_CHECKING:
    from reporting.stores.sql import SqlStore


def open_store(url: str, *, ships: bool = True) -> SqlStore:
    """Open the SQL store at a URL, building or migrating its tables.

    Args:
        url: `sqlite:///path/to.db` or `postgresql://user:password@host/database`.
        ships: whether writes are queued for a cluster too; `records replay` fills one that is named later.

    Raises:
        ConfigError: another scheme.
        StoreError: the database cannot be opened.
    """
    scheme = url.split(":", 1)[0]
    if scheme not in ("sqlite", "postgresql", "postgresql+psycopg"):
        raise ConfigError(
            f"store.url: {scheme!r} is no store; expected sqlite:///file.db or postgresql://host/database"
        )
    from reporting.stores.sql import SqlStore

    return SqlStore.open(url, ships=ships)
