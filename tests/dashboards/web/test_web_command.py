"""`funnelgate web` and `dashboards metrics` as commands."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from typer.testing import CliRunner

import funnelgate
from reporting.errors import ConfigError, StoreError, UsageError
from tests.dashboards.page import world


@pytest.fixture
def project(tmp_path, monkeypatch, world_file):
    """A folder with settings and the world's store."""
    import shutil

    monkeypatch.chdir(tmp_path)
    (tmp_path / "state").mkdir()
    (tmp_path / "funnelgate.yaml").write_text(
        "store: {url: 'sqlite:///state/books.db'}\npipeline: pipeline.yaml\nweb: {metrics_days: 2}\n"
    )
    (tmp_path / "pipeline.yaml").write_text(world.TOPOLOGY.model_dump_json(by_alias=True, exclude_none=True))
    shutil.copy(world_file, tmp_path / "state" / "books.db")
    return tmp_path


def run(*words: str):
    return CliRunner().invoke(funnelgate.app, [*words])


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1"])
def test_an_address_that_others_reach_is_refused_unless_they_are_let_in(project, host):
    error = run("web", "--host", host, "--port", "0").exception
    assert isinstance(error, UsageError)
    assert "--allow-remote" in str(error)


def test_a_port_that_is_taken_is_said_with_what_to_do(project):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        error = run("web", "--port", str(taken.getsockname()[1])).exception
    assert isinstance(error, StoreError)
    assert "--port 0" in str(error)


@pytest.mark.parametrize("words", [["web"], ["dashboards", "metrics"]])
def test_without_the_extra_it_says_what_to_install(project, monkeypatch, words):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    error = run(*words).exception
    assert isinstance(error, ConfigError)
    assert "funnelgate[web]" in str(error)


def test_metrics_are_printed_of_as_many_days_as_the_settings_say(project):
    def days(*words: str) -> set[str]:
        ended = run("dashboards", "metrics", *words)
        assert ended.exit_code == 0, ended.output
        families = text_string_to_metric_families(ended.stdout)
        return {one.labels["date"] for family in families if family.name == "funnelgate_day_leaves"
                for one in family.samples}  # fmt: skip

    assert days() == {str(day) for day in world.DAYS[-2:]}
    assert days("--days", "60") == {str(day) for day in world.DAYS}


@pytest.mark.slow
def test_it_answers_and_ends_when_asked_to(project):
    command = [sys.executable, "-m", "funnelgate", "web", "--port", "0"]
    pipes: Any = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=project, env=dict(os.environ), **pipes) as process:
        try:
            assert process.stdout is not None
            found = re.search(r"http://127\.0\.0\.1:\d+", process.stdout.readline())
            assert found
            with httpx.Client(base_url=found[0], timeout=30) as client:
                assert f"Overview, {world.NEWEST}" in client.get("/").text
                assert "server" not in client.get("/metrics").headers
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=30) == 0
        finally:
            process.kill()
    assert not (project / "lake").exists() or not list((project / "lake").iterdir())
