"""What the server counts, read back by Prometheus' own parser; and the thread that looks for releases."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import httpx
from prometheus_client.parser import text_string_to_metric_families

from pipeline.release.withheld import FILE, Withheld, WithheldList, withheld, withhold
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
    gauges = {
        key: found[f"{name}{key}", ()] for key in ("ready", "generation", "places", "places_limit", "running", "golden")
    }
    assert gauges == {"ready": 1, "generation": 1, "places": 0, "places_limit": 7, "running": 0, "golden": 0}
    assert found[f"{name}swaps_total", ()] == 1
    assert found[f"{name}slot_queries", ("1", "0", "active")] == 0


def test_two_servers_of_one_process_count_apart(tmp_path):
    apps = [make_app(Holder(tmp_path), ServeSettings(feedback=None), WithheldList) for _ in range(2)]
    with client_of(apps[0]) as one, client_of(apps[1]) as other:
        one.get("/healthz")
        assert ("funnelgate_serve_requests_total", ("/healthz", "200")) not in read(other.get("/metrics").text)


def client_of_same(client: httpx.Client) -> httpx.Client:
    return httpx.Client(base_url=client.base_url, timeout=20)


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


class Failing:
    """A holder whose looks raise what nobody thought of."""

    def refresh(self) -> Refreshed:
        raise ZeroDivisionError("nobody thought of it")


def test_nothing_that_a_look_raises_ends_the_looking():
    looks: list[str] = []

    def pull() -> None:
        raise KeyError("a kind that nobody caught")

    holder: Any = Failing()
    counted: list[str] = []
    poller = Poller(holder, seconds=1, pull=pull, counted=counted.append, looked=lambda: looks.append("looked"))
    for _ in range(2):
        poller.look()
    assert counted == ["failed"] * 4
    assert looks == ["looked"] * 2

    def told(_: Refreshed) -> None:
        raise BrokenPipeError("nobody reads standard error any more")

    holder = Pointer(*[Refreshed(outcome="swapped", number=number) for number in (1, 2)])
    counted = []
    poller = Poller(holder, seconds=1, told=told, counted=counted.append)
    for _ in range(2):
        poller.look()
    assert counted == ["swapped", "failed"] * 2


def test_a_poller_is_not_waited_for_longer_than_allowed():
    began, go_on = threading.Event(), threading.Event()

    class Stuck:
        def refresh(self) -> Refreshed:
            began.set()
            go_on.wait(20)
            return Refreshed(outcome="nothing")

    holder: Any = Stuck()
    poller = Poller(holder, seconds=3600)
    poller.start()
    assert began.wait(20)
    assert not poller.stop(0.0)
    go_on.set()
    assert poller.stop(20)


def test_metrics_tell_of_takedowns_that_cannot_be_read_and_of_the_last_look(tmp_path):
    damaged = [True]

    def listed() -> WithheldList:
        if damaged[0]:
            raise StoreError("WITHHELD.jsonl:1: is no takedown")
        return WithheldList()

    app = make_app(Holder(tmp_path), ServeSettings(feedback=None), listed)
    with client_of(app) as client:
        name = "funnelgate_serve_"
        found = read(client.get("/metrics").text)
        assert found[f"{name}withheld_readable", ()] == 0
        assert (f"{name}withheld", ()) not in found
        assert client.get("/readyz").status_code == 503
        damaged[0] = False
        before = found[f"{name}last_look_seconds", ()]
        found = read(client.get("/metrics").text)
        assert (found[f"{name}withheld_readable", ()], found[f"{name}withheld", ()]) == (1, 0)
        assert found[f"{name}last_look_seconds", ()] > before
        app.state.serving.metrics._last_look -= 1000
        assert read(client.get("/metrics").text)[f"{name}last_look_seconds", ()] > 1000
        app.state.serving.metrics.looked()
        assert read(client.get("/metrics").text)[f"{name}last_look_seconds", ()] < 1000


def test_takedowns_that_take_long_to_read_hold_up_nobody_else(tmp_path):
    asked, go_on = threading.Event(), threading.Event()

    def listed() -> WithheldList:
        asked.set()
        assert go_on.wait(20)
        return WithheldList()

    app = make_app(Holder(tmp_path), ServeSettings(feedback=None), listed)
    with client_of(app) as client, client_of_same(client) as other:
        waits = threading.Thread(target=lambda: other.get("/readyz"))
        waits.start()
        try:
            assert asked.wait(20)
            assert client.get("/healthz").status_code == 200
        finally:
            go_on.set()
            waits.join(20)


def test_a_server_that_lost_its_takedowns_answers_nothing_until_they_are_back(tmp_path, monkeypatch):
    library = make_library(tmp_path, monkeypatch)
    root = Path(library.lake.full(""))
    said = {"kind": "item", "value": "1", "by": "ana", "why": "asked to", "at": "2026-11-23T09:00:00Z"}
    withhold(root, Withheld.model_validate(said))
    holder = Holder(root)
    assert holder.refresh().outcome == "swapped"
    app = make_app(holder, ServeSettings(feedback=None), lambda: withheld(root))
    picture: dict[str, Any] = {"content": library.items[1].data, "headers": {"Content-Type": "image/png"}}
    with client_of(app) as client:
        shown = [one["item"] for one in client.post("/search", **picture).json()["results"]]
        assert shown
        assert 1 not in shown
        (root / FILE).rename(root / "aside")
        assert client.post("/search", **picture).status_code == 503
        assert client.get("/readyz").status_code == 503
        assert read(client.get("/metrics").text)["funnelgate_serve_withheld_readable", ()] == 0
        (root / "aside").rename(root / FILE)
        assert [one["item"] for one in client.post("/search", **picture).json()["results"]] == shown
