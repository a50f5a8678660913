"""The world's store, written once; a copy for those who change it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.dashboards.page import world
from tests.dashboards.web.served import live


@pytest.fixture(scope="session")
def world_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The world's store; to be read only."""
    file = tmp_path_factory.mktemp("world") / "books.db"
    world.fill(file).close()
    return file


@pytest.fixture
def own_file(world_file: Path, tmp_path: Path) -> Path:
    """A copy of the world's store."""
    return Path(shutil.copy(world_file, tmp_path / "books.db"))


@pytest.fixture(scope="module")
def client(world_file: Path) -> Iterator[httpx.Client]:
    """A client of the world, served."""
    with live(world_file) as found:
        yield found
