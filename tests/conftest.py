"""Fixtures every test may use: shared data, and what turns a skip into a failure."""

from __future__ import annotations

import importlib
import logging
import os
import secrets
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.servers.node import Node
from tests.servers.rest import remove_everything

# On a loaded machine examples are slow without being wrong: neither their time nor that of drawing them decides.
settings.register_profile("funnelgate", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("funnelgate")

REPOSITORY = Path(__file__).parent.parent
# Tests make many small indices on a disk that may be nearly full.
ELASTIC_SETTINGS = ("cluster.routing.allocation.disk.threshold_enabled=false", "cluster.max_shards_per_node=5000")
_prefix_numbers = count(1)
# Files of which one test takes a minute or more. Two processes share the files: a long one that is begun last is waited
# for alone (seen: 100 s of 970).
LONGEST_FIRST = (
    "test_kill.py",
    "test_docs.py",
    "test_cluster.py",
    "test_chaos.py",
    "test_show.py",
    "test_wheel.py",
    "test_training.py",
    "test_learn_detector.py",
)


@pytest.hookimpl(trylast=True)  # after pytest-randomly has mixed them
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the longest files; the others stay in the order they have."""
    places = {name: place for place, name in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: places.get(item.path.name, len(places)))


def required(name: str) -> bool:
    """Tell whether FUNNELGATE_REQUIRE forbids skipping for want of `name`."""
    return name in os.environ.get("FUNNELGATE_REQUIRE", "").split(",")


def skip_for_want_of(name: str, why: str) -> None:
    """Skip, or fail where FUNNELGATE_REQUIRE names it."""
    if required(name):
        pytest.fail(f"FUNNELGATE_REQUIRE={name}: {why}")
    pytest.skip(why)


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings in the developer's environment must not decide a test."""
    for name in list(os.environ):
        if name.startswith("FUNNELGATE_") and name not in ("FUNNELGATE_SHARED", "FUNNELGATE_REQUIRE"):
            monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def _logs_as_they_were() -> Iterator[None]:
    """Where one test sends our logs, and from which level on, must not decide another: set back after each."""
    root = logging.getLogger("funnelgate")
    handlers, level, propagate = list(root.handlers), root.level, root.propagate
    yield
    for handler in [one for one in root.handlers if one not in handlers]:
        root.removeHandler(handler)
        handler.close()
    root.setLevel(level)
    root.propagate = propagate


@pytest.fixture(scope="session")
def repository() -> Path:
    """The repository's root."""
    return REPOSITORY


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The shared data folder; skips where it is absent."""
    folder = Path(os.environ.get("FUNNELGATE_SHARED", REPOSITORY.parent / "shared")) / "data"
    if not folder.is_dir():
        skip_for_want_of("data", f"no shared data at {folder} (set FUNNELGATE_SHARED)")
    return folder


@pytest.fixture(scope="session")
def training_packages() -> None:
    """The packages of the extra `train`; skips where one cannot be imported."""
    for name in ("torch", "onnx", "faster_coco_eval"):
        try:
            importlib.import_module(name)
        except ImportError as error:
            skip_for_want_of("train", f"{error} (make train-venv)")


@pytest.fixture(scope="session")
def elastic_node() -> Iterator[Node]:
    """An Elasticsearch 9.5.3 that all tests of the session share: who kills or hangs a node starts one of their own."""
    with Node.start(settings=ELASTIC_SETTINGS) as node:
        yield node


@pytest.fixture(scope="session")
def elastic_url(elastic_node: Node) -> str:
    """The address of the session's Elasticsearch 9.5.3."""
    return elastic_node.url


@pytest.fixture(scope="session")
def elastic8_url() -> Iterator[str]:
    """The address of the session's Elasticsearch 8.19.21, which has ES|QL."""
    with Node.start(version="8.19.21", settings=ELASTIC_SETTINGS) as node:
        yield node.url


@pytest.fixture
def elastic_prefix(elastic_url: str) -> Iterator[str]:
    """A prefix for this test's indices and templates on the session's 9.5.3, which are deleted after the test."""
    prefix = f"t{next(_prefix_numbers)}-{secrets.token_hex(4)}"
    yield prefix
    remove_everything(elastic_url, prefix)
