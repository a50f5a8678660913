"""A node keeps its data and port over a crash, answers nothing while it hangs, and leaves nothing behind."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.servers.node import Node
from tests.servers.rest import call, remove_everything

pytestmark = pytest.mark.elasticsearch


def test_the_sessions_node_is_9_5_3(elastic_url: str) -> None:
    status, answer = call(elastic_url, "GET", "/")
    assert (status, answer["version"]["number"]) == (200, "9.5.3")


def test_what_a_test_made_under_its_prefix_is_removed_and_nothing_else(elastic_url: str, elastic_prefix: str) -> None:
    mine, other = f"{elastic_prefix}-mine", f"{elastic_prefix}-other"
    for prefix in (mine, other):
        part = {"template": {"settings": {"number_of_replicas": 0}}}
        assert call(elastic_url, "PUT", f"/_component_template/{prefix}-part", part)[0] == 200
        whole = {"index_patterns": [f"{prefix}-*"], "composed_of": [f"{prefix}-part"]}
        assert call(elastic_url, "PUT", f"/_index_template/{prefix}-whole", whole)[0] == 200
        assert call(elastic_url, "PUT", f"/{prefix}-index")[0] == 200

    def found(prefix: str) -> list[int]:
        paths = (f"/{prefix}-index", f"/_index_template/{prefix}-whole", f"/_component_template/{prefix}-part")
        return [call(elastic_url, "GET", path)[0] for path in paths]

    remove_everything(elastic_url, mine)
    assert found(mine) == [404, 404, 404]
    assert found(other) == [200, 200, 200]


@pytest.mark.slow
def test_the_sessions_other_node_is_8_19_21_and_has_esql(elastic8_url: str) -> None:
    assert call(elastic8_url, "GET", "/")[1]["version"]["number"] == "8.19.21"
    status, answer = call(elastic8_url, "POST", "/_query", {"query": "ROW a = 1"})
    assert (status, answer["values"]) == (200, [[1]])


@pytest.mark.slow
def test_a_killed_node_has_what_it_acknowledged_and_its_port_after_a_restart(tmp_path: Path) -> None:
    with Node.start(data=tmp_path) as node:
        before = node.url
        assert call(node.url, "PUT", "/kept/_doc/1", {"n": 1})[0] == 201
        node.kill()
        with pytest.raises(ConnectionRefusedError):
            call(node.url, "GET", "/")
        node.restart()
        assert node.url == before
        status, _ = call(node.url, "GET", "/_cluster/health/kept?wait_for_status=yellow&timeout=60s")
        assert status == 200
        assert call(node.url, "GET", "/kept/_doc/1")[1]["_source"] == {"n": 1}


@pytest.mark.slow
def test_a_hung_node_answers_only_when_it_is_resumed() -> None:
    with Node.start() as node:
        node.hang()
        with pytest.raises(TimeoutError):
            call(node.url, "GET", "/", timeout=0.5)
        node.resume()
        assert call(node.url, "GET", "/")[0] == 200
        node.hang()  # and a hung node can be stopped


@pytest.mark.slow
def test_a_node_that_cannot_start_shows_the_end_of_its_log() -> None:
    with pytest.raises(AssertionError, match=r"no\.such\.setting"):
        Node.start(settings=("no.such.setting=1",))
