"""What the server counts, read back by Prometheus' own parser; and the thread that looks for releases."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from pipeline.release.withheld import WithheldList
from pipeline.serve.app import make_app
from pipeline.serve.holder import Holder, Refreshed
from pipeline.serve.poller import Poller
from pipeline.serve.serve_settings import ServeSettings
from reporting.errors import StoreError
from tests.pipeline.http_server import client_of
from tests.pipeline.searchable import make_library


def read(text: str) -> dict[tuple[str, tuple[str, ...]], float]:
    """Return each sample by name and the values of its labels."""
    families = text_string_to_metric_families(text)
    return {(one.name, tuple(one.labels.values())): one.value for family in families for one in family.samples}


def test_requests_answers_and_refusals_are_counted_by_what_they_were(tmp_path, monkeypatch):
    library = make_library(tmp_path, monkeypatch)
    holder = Holder(Path(library.lake.full("")))
    app = make_app(holder, ServeSettings(feedback=None, queue=5), lambda: WithheldList(items=frozenset({1})))
    with client_of(app) as client:
        picture: dict[str, Any] = {"content": library.items[1].data, "headers": {"Content-Type": "image/png"}}
        client.post("/search", **picture)
        assert holder.refresh().outcome == "swapped"
        for _ in range(3):
            client.post("/search", params={"k": 2}, **picture)
        client.post("/search", params={"k": 100}, **picture)
        client.post("/search", json={"vector": [1.0], "space_id": "other"})
        for path in ("/etc", "/etc/passwd", "/search"):
            client.get(path)
        found = read(client.get("/metrics").text)
    name = "funnelgate_serve_"
    assert found[f"{name}requests_total", ("/search", "200")] == 4
    assert found[f"{name}requests_total", ("/search", "409")] == 1
    assert found[f"{name}requests_total", ("/search", "503")] == 1
    assert found[f"{name}requests_total", ("other", "404")] == 2, "strangers add no series"
    assert found[f"{name}answers_total", ("1",)] == 4
    assert found[f"{name}short_answers_total", ()] == 1
    assert found[f"{name}refused_total", ("space_mismatch",)] == 1
    assert found[f"{name}search_seconds_count", ("picture",)] == 5
    assert found[f"{name}request_seconds_count", ("/search",)] == 7
    gauges = {key: found[f"{name}{key}", ()] for key in ("ready", "generation", "places", "places_limit", "running")}
    assert gauges == {"ready": 1, "generation": 1, "places": 0, "places_limit": 7, "running": 0}
    assert found[f"{name}swaps_total", ()] == 1
    assert found[f"{name}slot_queries", ("1", "0", "active")] == 0


def test_two_servers_of_one_process_count_apart(tmp_path):
    apps = [make_app(Holder(tmp_path), ServeSettings(feedback=None), WithheldList) for _ in range(2)]
    with client_of(apps[0]) as one, client_of(apps[1]) as other:
        one.get("/healthz")
        assert ("funnelgate_serve_requests_total", ("/healthz", "200")) not in read(other.get("/metrics").text)


class Pointer:
    """A holder that answers each look with the next of what it was given."""

    def __init__(self, *answers: Refreshed) -> None:
        self.answers = list(answers)

    def refresh(self) -> Refreshed:
        return self.answers.pop(0)


def polled(*answers: Refreshed, pull: Any = None) -> tuple[list[Refreshed], list[str]]:
    told: list[Refreshed] = []
    counted: list[str] = []
    holder: Any = Pointer(*answers)
    poller = Poller(holder, seconds=1, pull=pull, told=told.append, counted=counted.append)
    for _ in answers:
        poller.look()
    return told, counted


def test_each_look_is_counted_and_only_news_are_told():
    new, same = Refreshed(outcome="swapped", number=1), Refreshed(outcome="unchanged", number=1)
    bad, worse = (Refreshed(outcome="refused", number=2, reason=reason) for reason in ("sha256", "truncated"))
    told, counted = polled(new, same, bad, bad, worse)
    assert told == [new, bad, worse]
    assert counted == ["swapped", "unchanged", "refused", "refused", "refused"]


def test_a_source_that_cannot_be_reached_does_not_keep_the_release_at_hand_from_being_served():
    def pull() -> None:
        raise StoreError("no route to host")

    told, counted = polled(Refreshed(outcome="swapped", number=1), pull=pull)
    assert [one.number for one in told] == [1]
    assert counted == ["failed", "swapped"]


def test_a_poller_looks_at_once_and_stops_between_two_looks():
    looked = threading.Event()

    class Watched:
        def refresh(self) -> Refreshed:
            looked.set()
            return Refreshed(outcome="nothing")

    holder: Any = Watched()
    poller = Poller(holder, seconds=3600)
    poller.start()
    assert looked.wait(20)
    poller.stop()
