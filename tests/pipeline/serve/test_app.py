"""The server over real HTTP: what it answers, whom it refuses, and that takedowns and generations hold."""

from __future__ import annotations

import dataclasses
import datetime as dt
import io
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from pipeline.release.withheld import Withheld, withheld, withhold
from pipeline.serve.admission import Admission
from pipeline.serve.answer import answer
from pipeline.serve.app import make_app
from pipeline.serve.holder import Holder
from pipeline.serve.serve_settings import ServeSettings
from tests.pipeline.http_server import client_of
from tests.pipeline.searchable import FRONT, Library, box_of, encoded, make_library, release, scene

PNG = {"Content-Type": "image/png"}
AT = dt.datetime(2026, 11, 2, tzinfo=dt.UTC)


@dataclasses.dataclass(frozen=True)
class Site:
    """A server of a small library, and a client of it."""

    library: Library
    holder: Holder
    app: Any
    client: httpx.Client

    def search(self, number: int = 1, **query: Any) -> httpx.Response:
        return self.client.post("/search", content=self.library.items[number].data, headers=PNG, params=query)

    def by_vector(self, number: int = 1, space: str = "means-1", **more: Any) -> httpx.Response:
        return self.client.post("/search", json={"vector": self.vector(number), "space_id": space, **more})

    def vector(self, number: int) -> list[float]:
        embedder = self.library.models.embedders["one"]
        vector: list[float] = embedder.embed([self.library.items[number].pixels])[0].tolist()
        return vector

    def withhold(self, kind: Any, value: str, **more: Any) -> None:
        root = Path(self.library.lake.full(""))
        withhold(root, Withheld(kind=kind, value=value, by="t", why="a test of it", at=AT, **more))


@contextmanager
def site_of(library: Library, *, refreshed: bool = True) -> Iterator[Site]:
    root = Path(library.lake.full(""))
    holder = Holder(root)
    if refreshed:
        assert holder.refresh().outcome == "swapped"
    app = make_app(holder, ServeSettings(feedback=None), lambda: withheld(root))
    with client_of(app) as client:
        yield Site(library, holder, app, client)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One server for most tests; none of them leaves anything behind."""
    with pytest.MonkeyPatch.context() as patch:
        library = make_library(tmp_path_factory.mktemp("site"), patch)
        with site_of(library) as found:
            yield found


@contextmanager
def changed(site: Site, **settings: Any) -> Iterator[Admission]:
    """Give the server other limits for a while."""
    before = site.app.state.serving
    limits = before.settings.model_copy(update=settings)
    admission = Admission(
        limits.threads,
        limits.queue,
        limits.time_limit_seconds,
        cut_off=lambda where: before.metrics.cut_off.labels(where).inc(),
    )
    searcher = dataclasses.replace(before.searcher, settings=limits)
    site.app.state.serving = dataclasses.replace(before, settings=limits, admission=admission, searcher=searcher)
    try:
        yield admission
    finally:
        site.app.state.serving = before
        admission.close()


def of_many_scans() -> bytes:
    """Return a small picture that would be decoded two thousand times over."""
    buffer = io.BytesIO()
    Image.new("RGB", (32, 32)).save(buffer, "JPEG", progressive=True)
    data = buffer.getvalue()
    return data[:-2] + data[data.rindex(b"\xff\xda") : -2] * 200 + data[-2:]


def wait_until(is_true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not is_true():
        assert time.monotonic() < deadline


def cut_off(site: Site, where: str) -> float:
    """Return how many requests were cut off there."""
    found = re.search(rf'serve_cut_off_total{{where="{where}"}} (\S+)', site.client.get("/metrics").text)
    return float(found[1]) if found else 0.0


def test_a_picture_is_answered_as_the_command_line_answers_it(site):
    told = answer(site.library.lake, site.library.picture("q.png", site.library.items[3].data), 4)
    reply = site.search(3, k=4).json()
    assert reply.pop("spaces") == {"odd": "means-2"}
    assert reply == told.model_dump(mode="json")
    assert reply["results"][0]["item"] == 3


def test_a_vector_is_answered_as_the_picture_it_was_made_of(site):
    reply, by_picture = site.by_vector(1).json(), site.search(1).json()
    assert reply["results"] == by_picture["results"]
    assert (reply["generation"], reply["spaces"], reply["object"]) == (1, {"even": "means-1"}, None)


def test_a_category_and_a_box_of_the_address_count(site):
    box = box_of((200, 60, 60))
    reply = site.search(1, category="odd", box=",".join(map(str, box))).json()
    assert reply["object"]["box"] == list(box)
    assert {one["category"] for one in reply["results"]} == {"odd"}
    assert reply["results"][0]["item"] == 2


def test_a_vector_of_another_space_is_refused_with_both_ids(site):
    reply = site.by_vector(space="means-9")
    assert reply.status_code == 409
    said = reply.json()
    assert (said["error"], said["found"], said["expected"]) == ("space_mismatch", "means-9", ["means-1", "means-2"])
    assert set(said) == {"error", "found", "expected", "do"}
    assert site.by_vector(space="means-2", category="even").json()["expected"] == ["means-1"]


def test_a_vector_of_another_dimension_is_refused_with_both_numbers(site):
    dim = len(site.vector(1))
    reply = site.client.post("/search", json={"vector": [1.0] * (dim + 1), "space_id": "means-1"})
    said = reply.json()
    assert (reply.status_code, said["error"]) == (422, "bad_vector")
    assert (said["found"], said["expected"]) == (f"{dim + 1} numbers", f"{dim} numbers")


def test_a_generation_that_is_not_held_is_refused_with_both_ids(site):
    reply = site.search(1, generation=7)
    assert (reply.status_code, reply.json()["found"], reply.json()["expected"]) == (409, 7, [1])


def test_both_generations_are_served_and_each_answer_names_its_own(tmp_path, monkeypatch):
    with site_of(make_library(tmp_path, monkeypatch)) as site:
        _ask_both(site)


def _ask_both(site: Site) -> None:
    entries = dict(site.library.generation.entries)
    del entries["odd"]
    release(site.library.lake, entries, FRONT)
    assert site.holder.refresh().outcome == "swapped"
    assert [site.search(1, generation=number).json()["generation"] for number in (1, 2)] == [1, 2]
    assert site.search(1).json()["generation"] == 2
    assert site.search(3, generation=1).json()["spaces"] == {"odd": "means-2"}
    assert site.by_vector(3, space="means-2").json()["generation"] == 1, "only the old one has that space"
    told = site.client.get("/generation").json()
    assert (told["active"], told["previous"]) == (2, 1)
    assert [sorted(one["categories"]) for one in told["generations"]] == [["even"], ["even", "odd"]]
    assert told["generations"][1]["categories"]["odd"]["space_id"] == "means-2"


@pytest.mark.parametrize(("kind", "value"), [("item", "1"), ("group", "g1"), ("offer", "acme/s1")])
def test_a_takedown_holds_with_the_next_query_and_is_lifted_as_fast(site, kind, value):
    assert site.search(1).json()["results"][0]["item"] == 1
    site.withhold(kind, value)
    for reply in (site.search(1), site.by_vector(1)):
        assert 1 not in [one["item"] for one in reply.json()["results"]]
    site.withhold(kind, value, lifted=True)
    assert site.search(1).json()["results"][0]["item"] == 1


def test_nothing_is_answered_while_the_takedowns_cannot_be_read(site):
    path = Path(site.library.lake.full("WITHHELD.jsonl"))
    kept = path.read_bytes() if path.exists() else None
    path.write_text("what?\n")
    try:
        for reply in (site.search(1), site.by_vector(1), site.client.get("/readyz")):
            assert (reply.status_code, reply.json()["error"]) == (503, "server_fault")
            assert "WITHHELD" not in reply.text, "a stranger learns nothing of our files"
    finally:
        path.unlink() if kept is None else path.write_bytes(kept)


@pytest.mark.parametrize(
    ("content", "headers", "status", "error"),
    [
        (b"<svg/>", PNG, 415, "not_an_image"),
        (encoded(scene((1, 20, 30, 110)))[:700], PNG, 422, "undecodable"),
        (of_many_scans(), PNG, 413, "too_many_scans"),
        (b"x", {"Content-Type": "text/plain"}, 415, "unsupported_type"),
        (b"x", {}, 415, "unsupported_type"),
        (b"", PNG, 400, "empty_body"),
        (b"x" * 60_001, PNG, 413, "too_many_bytes"),
        (b"{", {"Content-Type": "application/json"}, 400, "no_json"),
        (b"{}", {"Content-Type": "application/json"}, 422, "bad_value"),
    ],
)
def test_a_wrong_body_is_refused_by_its_own_word(site, content, headers, status, error):
    with changed(site, max_bytes=60_000) as admission:
        reply = site.client.post("/search", content=content, headers=headers)
        assert (reply.status_code, reply.json()["error"]) in {(status, error), (status, "truncated")}
        wait_until(lambda: (admission.taken, admission.intake.taken, admission.intake.held_bytes) == (0, 0, 0))


@pytest.mark.parametrize(
    ("query", "status", "word"),
    [
        ({"k": 0}, 422, "bad_value"),
        ({"k": "x"}, 422, "bad_value"),
        ({"k": 201}, 422, "too_many_results"),
        ({"box": "1,2"}, 422, "bad_box"),
        ({"box": "0,0,9999,9"}, 422, "bad_request"),
        ({"category": "evn"}, 422, "bad_request"),
        ({"generation": 0}, 422, "bad_value"),
    ],
)
def test_a_wrong_address_is_refused_by_its_own_word(site, query, status, word):
    reply = site.search(1, **query)
    assert (reply.status_code, reply.json()["error"]) == (status, word)


def test_addresses_and_methods_that_are_not_there_are_refused_in_json(site):
    assert site.client.get("/nowhere").json()["error"] == "no_such_address"
    reply = site.client.get("/search")
    assert (reply.status_code, reply.headers["Allow"]) == (405, "POST")


def test_a_picture_of_too_many_pixels_is_refused(site):
    with changed(site, max_pixels=59_999):
        reply = site.search(1)
        assert (reply.status_code, reply.json()["error"]) == (413, "too_many_pixels")


def test_a_server_without_a_generation_lives_but_is_not_ready(tmp_path, monkeypatch):
    with site_of(make_library(tmp_path, monkeypatch), refreshed=False) as site:
        assert site.client.get("/healthz").status_code == 200
        assert [site.client.head(path).status_code for path in ("/healthz", "/readyz")] == [200, 503]
        assert [site.client.get("/readyz").status_code, site.search(1).status_code] == [503, 503]
        assert site.client.get("/generation").json()["active"] is None
        site.holder.refresh()
        assert site.client.get("/readyz").json() == {"status": "ready", "generation": 1}


def test_without_a_key_only_health_is_told(site, monkeypatch):
    monkeypatch.setenv("FUNNELGATE_SERVE__API_KEY", "k" * 20)
    with site_of(site.library) as site:
        refused = [site.search(1), *(site.client.get(path) for path in ("/generation", "/metrics", "/openapi.json"))]
        assert {(one.status_code, one.json()["error"]) for one in refused} == {(401, "no_key")}
        assert refused[0].headers["WWW-Authenticate"] == "Bearer"
        assert [site.client.get(path).status_code for path in ("/healthz", "/readyz")] == [200, 200]
        for wrong in ({"X-API-Key": "k" * 19}, {"Authorization": "Bearer"}, {"Authorization": f"Basic {'k' * 20}"}):
            assert site.client.get("/generation", headers=wrong).status_code == 401
        for right in ({"X-API-Key": "k" * 20}, {"Authorization": f"bearer {'k' * 20}"}):
            assert site.client.get("/generation", headers=right).status_code == 200


class Gate:
    """A searcher that lets nobody through until it is opened."""

    def __init__(self, app: Any) -> None:
        self.inner = app.state.serving.searcher
        self.opened, self.reached = threading.Event(), threading.Semaphore(0)
        app.state.serving = dataclasses.replace(app.state.serving, searcher=self)

    def by_picture(self, data: bytes, query: Any) -> Any:
        self.reached.release()
        assert self.opened.wait(20)
        return self.inner.by_picture(data, query)


def test_a_full_queue_is_said_at_once_and_whoever_was_let_in_is_answered(site):
    with changed(site, threads=1, queue=1) as admission, ThreadPoolExecutor(2) as clients:
        gate = Gate(site.app)
        waiting = [clients.submit(site.search, 1) for _ in range(2)]
        wait_until(lambda: admission.taken == 2)
        refused = site.search(1)
        gate.opened.set()
        assert (refused.status_code, refused.json()["error"]) == (429, "queue_full")
        assert int(refused.headers["Retry-After"]) >= 1
        assert [one.result().status_code for one in waiting] == [200, 200]


def test_a_search_that_takes_too_long_is_cut_off_and_counted_and_health_answers_meanwhile(site):
    before = cut_off(site, "running")
    with changed(site, threads=1, queue=0, time_limit_seconds=0.1):
        gate = Gate(site.app)
        reply = site.search(1)
        assert (reply.status_code, reply.json()["error"]) == (504, "time_limit")
        assert site.client.get("/healthz").status_code == 200
        assert cut_off(site, "running") == before + 1
        assert site.search(1).status_code == 429, "its thread is still busy"
        gate.opened.set()


def test_slow_bodies_take_no_place_from_those_that_are_there(site):
    url = site.client.base_url
    head = b"POST /search HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\nContent-Length: 99\r\n\r\n1234"
    with changed(site, threads=1, queue=1) as admission, ExitStack() as lines:
        for _ in range(10):
            line = lines.enter_context(socket.create_connection((url.host, url.port or 0), timeout=20))
            line.sendall(head)
        wait_until(lambda: (admission.intake.taken, admission.intake.held_bytes) == (10, 40))
        assert admission.taken == 0
        assert site.search(1).status_code == 200


def test_a_body_that_never_ends_is_cut_off(site):
    before = cut_off(site, "reading")
    with changed(site, time_limit_seconds=0.1):
        url = site.client.base_url
        with socket.create_connection((url.host, url.port or 0), timeout=20) as line:
            line.sendall(
                b"POST /search HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\nContent-Length: 99\r\n\r\n1234"
            )
            assert line.recv(12) == b"HTTP/1.1 504"
    assert cut_off(site, "reading") == before + 1


def post_and_hang_up(site: Site, body: bytes, declared: int, admission: Admission) -> None:
    """Send a request and close the line as soon as its body is awaited; returns when that was counted."""
    before, url = cut_off(site, "client_gone"), site.client.base_url
    taken = admission.intake.taken
    with socket.create_connection((url.host, url.port or 0), timeout=20) as line:
        head = f"POST /search HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\nContent-Length: {declared}\r\n\r\n"
        line.sendall(head.encode() + body)
        wait_until(lambda: admission.intake.taken > taken)
    wait_until(lambda: cut_off(site, "client_gone") > before)


def test_a_client_that_hangs_up_is_counted_and_leaves_the_queue(site):
    with changed(site, threads=1, queue=1) as admission, ThreadPoolExecutor(1) as clients:
        gate = Gate(site.app)
        first = clients.submit(site.search, 1)
        try:
            assert gate.reached.acquire(timeout=20)
            body = site.library.items[1].data
            post_and_hang_up(site, body, len(body), admission)
        finally:
            gate.opened.set()
        assert first.result().status_code == 200
        assert not gate.reached.acquire(blocking=False), "nobody searched for it"


def test_a_client_that_hangs_up_in_the_middle_of_its_body_is_counted_and_no_fault(site, caplog):
    with changed(site) as admission:
        post_and_hang_up(site, b"1234", 99, admission)
    assert caplog.text == ""


def test_a_fault_of_the_server_says_nothing_of_its_files(site, monkeypatch, caplog):
    monkeypatch.setattr(Holder, "pin", lambda *_: Path("/nowhere/secret").read_bytes())
    reply = site.search(1)
    assert (reply.status_code, reply.json()["error"]) == (500, "server_fault")
    assert "secret" not in reply.text
    assert "secret" in caplog.text
    for _ in range(20):  # the line stays open: no request after it fails
        assert site.search(1).status_code == 500


def test_the_openapi_page_describes_both_bodies_of_a_search(site):
    paths = site.client.get("/openapi.json").json()["paths"]
    assert set(paths["/search"]["post"]["requestBody"]["content"]) == {"image/*", "application/json"}
