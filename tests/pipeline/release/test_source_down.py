"""A source that is down is neither an empty one nor a tampered one, whatever its file system raises."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from pipeline.release.consumer import Consumer
from pipeline.release.pointer import POINTER, current
from pipeline.release.resource_consumer import ResourceConsumer
from pipeline.release.withheld import FILE, Withheld, withheld, withhold
from reporting.errors import ContractViolation, StoreError
from tests.pipeline.releasing import NOW, model, released


class ClientError(Exception):
    """As aiohttp's and botocore's: of no built-in kind but Exception."""


class Unsteady(MemoryFileSystem):  # type: ignore[misc]
    """A file system in memory that raises what it is told to."""

    protocol = "unsteady"
    raised: ClassVar[BaseException | None] = None
    at: ClassVar[str] = ""

    @classmethod
    def _strip_protocol(cls, path: str) -> Any:
        return super()._strip_protocol(path.replace("unsteady://", "memory://"))

    def _open(self, path: str, *args: Any, **options: Any) -> Any:
        if Unsteady.raised is not None and Unsteady.at in path:
            raise Unsteady.raised
        return super()._open(path, *args, **options)


def not_found_for_no_answer() -> FileNotFoundError:
    """What fsspec's HTTP raises where it could not connect."""
    error = FileNotFoundError("http://host/CURRENT")
    error.__cause__ = ClientError("cannot connect")
    return error


@pytest.fixture
def unsteady(tmp_path: Path) -> Iterator[str]:
    fsspec.register_implementation("unsteady", Unsteady, clobber=True)
    released(tmp_path / "lake", "one")
    withhold(tmp_path / "lake", Withheld(kind="group", value="g", by="ana", why="asked to", at=NOW))
    fsspec.filesystem("unsteady").put(f"{tmp_path / 'lake'}/", "/lake-of-unsteady/", recursive=True)
    yield "unsteady://lake-of-unsteady"
    Unsteady.raised, Unsteady.at = None, ""
    fsspec.filesystem("unsteady").rm("/lake-of-unsteady", recursive=True)


@pytest.mark.parametrize("at", [FILE, POINTER, "releases/", "objects/"])
@pytest.mark.parametrize(
    "error",
    [ClientError("503 Slow Down"), ValueError("no range requests"), TimeoutError(), not_found_for_no_answer()],
    ids=["client", "range", "time", "disguised"],
)  # fmt: skip
def test_whatever_a_file_system_raises_is_a_source_that_cannot_be_reached(
    unsteady: str, tmp_path: Path, error: Exception, at: str
) -> None:
    Unsteady.raised, Unsteady.at = error, at
    consumer = Consumer(unsteady, tmp_path / "home")
    with pytest.raises(StoreError, match="cannot be read") as refused:
        consumer.poll(NOW)
    assert refused.value.exit_code == 4
    assert current(tmp_path / "home") is None
    Unsteady.raised = None
    assert consumer.poll(NOW) is not None


def emptied(lake: Path) -> None:
    shutil.rmtree(lake)
    lake.mkdir()


@pytest.mark.parametrize("lose", [shutil.rmtree, emptied], ids=["gone", "not mounted"])
def test_a_source_that_went_away_is_no_tampering(tmp_path: Path, lose: Any) -> None:
    lake, home = tmp_path / "lake", tmp_path / "home"
    released(lake, "one")
    model(lake, "a")
    resource = ResourceConsumer(str(lake), home, "model", "lite0")
    Consumer(str(lake), home).poll(NOW), resource.poll(NOW)
    lose(lake)
    for poll in (Consumer(str(lake), home).poll, resource.poll):
        with pytest.raises(StoreError):
            poll(NOW)
    assert current(home) is not None


def test_takedowns_that_went_away_with_the_source_are_no_tampering_and_alone_they_are(tmp_path: Path) -> None:
    lake, home = tmp_path / "lake", tmp_path / "home"
    released(lake, "one")
    withhold(lake, Withheld(kind="group", value="g", by="ana", why="asked to", at=NOW))
    Consumer(str(lake), home).poll(NOW)
    (lake / FILE).unlink()
    with pytest.raises(ContractViolation, match="does not go on"):
        Consumer(str(lake), home).poll(NOW)
    emptied(lake)
    with pytest.raises(StoreError, match="not mounted, or was emptied"):
        Consumer(str(lake), home).poll(NOW)
    assert withheld(home).groups == {"g"}


def test_a_source_that_is_not_there_is_not_one_where_nothing_is_published(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="cannot be read"):
        Consumer(str(tmp_path / "lake"), tmp_path / "home").poll(NOW)
    (tmp_path / "lake").mkdir()
    assert Consumer(str(tmp_path / "lake"), tmp_path / "home").poll(NOW) is None
