"""`funnelgate serve` as a process of its own: what it prints, that it swaps under load, and how it ends."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

import funnelgate
from pipeline.lake import Lake
from pipeline.models.catalog import DEFAULT_EMBEDDER, open_embedder
from pipeline.release.manifest import CategoryIndex
from reporting.errors import ConfigError, StoreError
from tests.pipeline.searchable import MAIN, Item, encoded, release, scene, shelve


def library(root: Path, count: int = 5) -> tuple[dict[str, CategoryIndex], list[Item]]:
    """Write an index of drawn pictures, embedded by the model that is shipped."""
    embedder: Any = open_embedder(DEFAULT_EMBEDDER)
    items = [Item(number, "even", encoded(scene((number, *MAIN))), None) for number in range(1, count + 1)]
    models: Any = SimpleNamespace(embedders={"one": embedder})
    entries = shelve(Lake(str(root)), items, models)
    name = f"{DEFAULT_EMBEDDER}@1"
    return {category: entry.model_copy(update={"model": name}) for category, entry in entries.items()}, items


@contextmanager
def server(folder: Path, *options: str) -> Iterator[tuple[subprocess.Popen[str], str, list[str]]]:
    """Run the command; yields the process, its address, and the lines of its standard error as they come."""
    environ = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "funnelgate", "serve", "--port", "0", "--poll-seconds", "0.05", *options]
    pipes: Any = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=folder, env=environ, **pipes) as process:
        told: list[str] = []
        assert process.stderr is not None
        reader = threading.Thread(target=lambda lines=process.stderr: told.extend(lines), daemon=True)
        reader.start()
        try:
            assert process.stdout is not None
            found = re.search(r"http://127\.0\.0\.1:\d+", process.stdout.readline())
            assert found, told
            yield process, found[0], told
        finally:
            process.kill()
            reader.join(timeout=20)


def wait_for(client: httpx.Client, number: int) -> None:
    wait_until(lambda: client.get("/generation").json()["active"] == number)


def wait_until(is_true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not is_true():
        assert time.monotonic() < deadline


@pytest.mark.slow
def test_releases_are_swapped_in_while_it_answers_and_it_ends_when_asked_to(tmp_path):
    entries, items = library(tmp_path / "lake")
    with server(tmp_path) as (process, url, told), httpx.Client(base_url=url, timeout=30) as client:
        assert client.get("/readyz").status_code == 503
        for number in (1, 2, 3):
            other = {"even": entries["even"].model_copy(update={"nprobe": number})}
            assert release(Lake(str(tmp_path / "lake")), other, None) == number
            wait_for(client, number)
            reply = client.post("/search", content=items[2].data, headers={"Content-Type": "image/png"})
            assert (reply.json()["generation"], reply.json()["results"][0]["item"]) == (number, 3)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 0
    assert [line.split(",")[0].strip() for line in told if "serves" in line] == [
        f"release {number} serves" for number in (1, 2, 3)
    ]
    assert not (tmp_path / "state" / "funnelgate.db").exists(), "a server opens no store"


@pytest.mark.slow
def test_a_tampered_release_is_refused_by_name_and_the_old_one_goes_on(tmp_path):
    entries, items = library(tmp_path / "lake")
    release(Lake(str(tmp_path / "lake")), entries, None)
    home = tmp_path / "home"
    with (
        server(tmp_path, "--from", str(tmp_path / "lake"), "--home", str(home)) as (_, url, told),
        httpx.Client(base_url=url, timeout=30) as client,
    ):
        wait_for(client, 1)
        bad = tmp_path / "lake" / "bad.faiss"
        bad.write_bytes((tmp_path / "lake" / entries["even"].index_path).read_bytes()[:-9])
        wrong = {"even": entries["even"].model_copy(update={"index_path": "bad.faiss", "index_sha256": "0" * 64})}
        release(Lake(str(tmp_path / "lake")), wrong, None)
        wait_until(lambda: 'serve_polls_total{outcome="failed"}' in client.get("/metrics").text)
        reply = client.post("/search", content=items[0].data, headers={"Content-Type": "image/png"})
        assert (reply.json()["generation"], reply.json()["results"][0]["item"]) == (1, 1)
    log = (tmp_path / "state" / "funnelgate.log").read_text()
    assert "bad.faiss" in "".join(told) + log


def run(*words: str) -> BaseException | None:
    return CliRunner().invoke(funnelgate.app, ["serve", *words]).exception


def test_a_port_that_is_taken_is_said_with_what_to_do(tmp_path, monkeypatch):
    import socket

    monkeypatch.chdir(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        error = run("--port", str(taken.getsockname()[1]))
    assert isinstance(error, StoreError)
    assert "--port 0" in str(error)


def test_without_the_extra_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    error = run()
    assert isinstance(error, ConfigError)
    assert "funnelgate[web]" in str(error)


def test_a_lake_that_is_no_folder_is_pulled_from_instead(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "funnelgate.yaml").write_text("lake: {root: 's3://bucket/lake'}\n")
    error = run("--port", "0")
    assert isinstance(error, ConfigError)
    assert "--from s3://bucket/lake" in str(error)


@pytest.mark.parametrize(("host", "key", "is_warned_of"), [
    ("127.0.0.1", "", False), ("localhost", "", False), ("0.0.0.0", "", True), ("0.0.0.0", "k" * 16, False),
])  # fmt: skip
def test_an_address_that_others_reach_without_a_key_is_warned_of(tmp_path, monkeypatch, host, key, is_warned_of):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("reporting.http_server.serve_until_asked", lambda *_, stop, **__: stop(20.0))
    if key:
        monkeypatch.setenv("FUNNELGATE_SERVE__API_KEY", key)
    ended = CliRunner().invoke(funnelgate.app, ["serve", "--host", host, "--port", "0"])
    assert ended.exit_code == 0, ended.output
    assert ("whoever reaches 0.0.0.0 may search and read" in ended.stderr) is is_warned_of
