"""A store with the world, written once, and the pages that were made of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from dashboards.page.desk import Desk
from dashboards.page.static import write_site
from reporting.stores.sql import SqlStore
from tests.dashboards.page import world
from tests.dashboards.page.no_sources import NoSources
from tests.pipeline.conftest import copy_of, three_days

__all__ = ["copy_of", "made", "three_days"]


class Made(NamedTuple):
    """A folder of pages, and what it was made of."""

    folder: Path
    file: Path
    store: SqlStore
    desk: Desk


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    """The world as a folder of pages; to be read only."""
    folder = tmp_path_factory.mktemp("page")
    with world.fill(folder / "books.db") as store:
        desk = Desk(store, world.TOPOLOGY, NoSources(), world.NOW, first=world.DAYS[-3])
        write_site(desk, folder / "out")
        yield Made(folder / "out", folder / "books.db", store, desk)
