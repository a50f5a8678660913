"""A real Elasticsearch node on the loopback: `with Node.start() as node: ...node.url...`.

It is a Java process from the shared folder (`FUNNELGATE_SHARED`, default `../shared` beside the repository), or the
official container where that folder is absent and Docker is there. Where there is neither, the test is skipped, or
fails if FUNNELGATE_REQUIRE names elasticsearch.
"""

from __future__ import annotations

import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import weakref
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest

from tests.servers.ports import free_port
from tests.servers.rest import call

_REPOSITORY = Path(__file__).parent.parent.parent
_START_SECONDS = 120.0
_STOP_SECONDS = 60.0
_LOG_LINES = 40
_IMAGE = "docker.elastic.co/elasticsearch/elasticsearch"


class Node:
    """One node. `url` is its address; it keeps its port and its data over `restart`.

    A folder made for its data goes with the object. `--with-parent` ends the node when the thread that started it
    ends, so start and restart it from a thread that stays.
    """

    url: str

    @staticmethod
    def start(data: Path | None = None, version: str = "9.5.3", port: int = 0, settings: Sequence[str] = ()) -> Node:
        """Start a node and wait until it answers.

        Args:
            data: Folder to keep its data in; None for one of its own, deleted with the node.
            version: "9.5.3" or "8.19.21".
            port: HTTP port; 0 for a free one.
            settings: Elasticsearch settings such as `thread_pool.write.queue_size=1`.
        """
        script = _script()
        if script.is_file():
            return ProcessNode(script, data, version, port or free_port(), tuple(settings))
        return ContainerNode(version, tuple(settings), f"no {script} (set FUNNELGATE_SHARED)")

    def stop(self) -> None:
        """Stop it as an operator does (SIGTERM) and wait for its end; again is harmless."""
        raise NotImplementedError

    def kill(self) -> None:
        """Crash it (SIGKILL)."""
        raise NotImplementedError

    def restart(self) -> None:
        """Start it again on the same data and port, after a stop where it still runs."""
        raise NotImplementedError

    def hang(self) -> None:
        """Stop it from doing anything: it still accepts connections but answers none (SIGSTOP)."""
        raise NotImplementedError

    def resume(self) -> None:
        """End a hang (SIGCONT)."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


class ProcessNode(Node):
    """A node as a Java process of ours."""

    def __init__(self, script: Path, data: Path | None, version: str, port: int, settings: tuple[str, ...]) -> None:
        own = Path(tempfile.mkdtemp(prefix="funnelgate-elastic-"))
        self._removal = weakref.finalize(self, shutil.rmtree, own, ignore_errors=True)
        self.log = own / "node.log"
        self._command = [
            *(sys.executable, str(script), "--version", version, "--port", str(port)),
            *("--data", str(data or own / "data"), "--log", str(self.log), "--with-parent", *settings),
        ]
        # Java's second compiler never pays here: it took 40 of the 117 s that the tests with a node need.
        self._environment = {**os.environ, "JDK_JAVA_OPTIONS": "-XX:TieredStopAtLevel=1"}
        self._process: subprocess.Popen[str] | None = None
        self.restart()

    def stop(self) -> None:
        if self._process is not None:
            # A hung process gets the signal only when it goes on.
            self._end(signal.SIGTERM, signal.SIGCONT)

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        self.stop()
        with self.log.open("a", encoding="utf-8") as log:
            # Java and its settings are refused on standard error before --log is opened.
            self._process = subprocess.Popen(
                self._command, stdout=subprocess.PIPE, stderr=log, text=True, env=self._environment
            )
        self.url = self._address(self._process)

    def hang(self) -> None:
        self._running().send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._running().send_signal(signal.SIGCONT)

    def _running(self) -> subprocess.Popen[str]:
        assert self._process is not None, "the node does not run"
        return self._process

    def _address(self, process: subprocess.Popen[str]) -> str:
        assert process.stdout is not None
        ready, _, _ = select.select([process.stdout], [], [], _START_SECONDS)
        line = process.stdout.readline().strip() if ready else ""
        if not line.startswith("http://"):
            self.kill()
            tail = "\n".join(self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-_LOG_LINES:])
            raise AssertionError(f"Elasticsearch did not come up within {_START_SECONDS:.0f} s; its log ends:\n{tail}")
        return line

    def _end(self, *signals: signal.Signals) -> None:
        process = self._running()
        self._process = None
        try:
            for one in signals:
                process.send_signal(one)
            process.wait(_STOP_SECONDS)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
            if process.stdout is not None:
                process.stdout.close()


class ContainerNode(Node):
    """A node in the official container, which can be stopped and not more."""

    def __init__(self, version: str, settings: tuple[str, ...], why: str) -> None:
        self._container: Any = _container(version, settings, why)
        try:
            host, port = self._container.get_container_host_ip(), self._container.get_exposed_port(9200)
            self.url = f"http://{host}:{port}"
            self._await()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        if self._container is not None:
            self._container.stop()
            self._container = None

    def kill(self) -> None:
        self._cannot()

    def restart(self) -> None:
        self._cannot()

    def hang(self) -> None:
        self._cannot()

    def resume(self) -> None:
        self._cannot()

    def _cannot(self) -> None:
        pytest.skip("needs a node that is a process of ours (FUNNELGATE_SHARED), not a container")

    def _await(self) -> None:
        deadline = time.monotonic() + _START_SECONDS
        last: object = None
        while time.monotonic() < deadline:
            try:
                status, last = call(self.url, "GET", "/", timeout=5)
            except OSError as error:
                status, last = 0, error
            if status == 200:
                return
            time.sleep(0.2)
        output = b"".join(self._container.get_logs()).decode(errors="replace")
        tail = "\n".join(output.splitlines()[-_LOG_LINES:])
        raise AssertionError(
            f"Elasticsearch did not come up within {_START_SECONDS:.0f} s: {last}; its log ends:\n{tail}"
        )


def _script() -> Path:
    shared = Path(os.environ.get("FUNNELGATE_SHARED", _REPOSITORY.parent / "shared"))
    return shared / "elasticsearch" / "start"


def _container(version: str, settings: tuple[str, ...], why: str) -> Any:
    """Start the official container without security; skips where that cannot be."""
    from tests.conftest import skip_for_want_of  # imports this module

    try:
        from testcontainers.core.container import DockerContainer
    except ImportError as error:
        skip_for_want_of("elasticsearch", f"{why}, and no testcontainers: {error}")
    refusal = _docker_refusal()
    if refusal:
        skip_for_want_of("elasticsearch", f"{why}, and no Docker: {refusal}")
    container = DockerContainer(f"{_IMAGE}:{version}").with_exposed_ports(9200)
    defaults = ("discovery.type=single-node", "xpack.security.enabled=false", "ES_JAVA_OPTS=-Xms512m -Xmx512m")
    for setting in (*defaults, *settings):
        container = container.with_env(*setting.split("=", 1))
    return container.start()


def _docker_refusal() -> str:
    """Why Docker cannot be used, or nothing. Asks the command: the library leaves a socket open where it fails."""
    try:
        answer = subprocess.run(["docker", "info"], capture_output=True, text=True, check=False, timeout=60)
    except OSError as error:
        return str(error)
    return answer.stderr.strip() or "docker info failed" if answer.returncode else ""
