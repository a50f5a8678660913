"""Which store a reading command reads: `--store sql` (the default) or `--store elastic`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from reporting.stores.base import RecordStore


class StoreName(StrEnum):
    """Where records are read from."""

    SQL = "sql"
    ELASTIC = "elastic"


StoreOption = Annotated[
    StoreName,
    typer.Option("--store", help="Read from the SQL store, or from Elasticsearch as far as it was shipped there."),
]


@contextmanager
def chosen_store(context: typer.Context, name: StoreName) -> Iterator[RecordStore]:
    """Yield the store that a command shall read.

    Raises:
        ConfigError: `elastic` without a cluster in the settings, with a wrong key, or one that is not set up.
        StoreError: the store cannot be reached.
    """
    if name is StoreName.SQL:
        yield context.obj.store
        return
    from reporting.stores.elastic import ElasticStore

    with ElasticStore.open(context.obj.elastic) as store:
        yield store
