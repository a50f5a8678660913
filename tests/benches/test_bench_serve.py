"""The server against faiss' own index.search over the same million rows: inside the handler, over HTTP, and a swap."""

from __future__ import annotations

import datetime as dt
import hashlib
import http.client
import io
import json
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from examples.serve.drawn_release import draft_of
from examples.serve.stress import main as stress_main
from pipeline.index.quantizer import to_bytes
from pipeline.models.catalog import DEFAULT_EMBEDDER, resolve
from pipeline.release.manifest import CategoryIndex, ReleaseDraft
from pipeline.release.objects import ObjectStore
from pipeline.release.pointer import publish
from pipeline.release.withheld import WithheldList
from pipeline.serve.answer import plain_results
from pipeline.serve.app import make_app
from pipeline.serve.holder import Holder
from pipeline.serve.ranking import search_ranked
from pipeline.serve.searching import PlainReply
from pipeline.serve.serve_settings import ServeSettings
from tests.benches.million import ROWS, K, million

ROUNDS, ASKED = 7, 400


@dataclass(frozen=True)
class Held:
    """A million rows as a release that is held."""

    home: Path
    draft: ReleaseDraft
    holder: Holder
    space: str


@pytest.fixture(scope="module")
def held(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Held]:
    home = tmp_path_factory.mktemp("serve")
    store, setup, spec = ObjectStore(home), million(), resolve(DEFAULT_EMBEDDER)[0]
    index, items = store.put_bytes(to_bytes(setup.index)), store.put_bytes(_items())
    entry = CategoryIndex(
        model=str(spec.ref),
        space_id=spec.space_id,
        index_path=store.relative(index),
        index_sha256=index,
        items_path=store.relative(items),
        items_sha256=items,
        rows=ROWS,
        nprobe=setup.nprobe,
    )
    draft = draft_of(home, "million", {"red": entry})
    publish(home, draft)
    holder = Holder(home)
    done = holder.refresh()
    assert done.outcome == "swapped", done.reason
    yield Held(home, draft, holder, spec.space_id)
    for file in (home / "objects").rglob("*"):
        if file.is_file():
            file.unlink()


def _items() -> bytes:
    """A million item rows, one offer each."""
    numbers = np.arange(ROWS)
    names = pa.array(numbers).cast(pa.string())
    offers = pa.StructArray.from_arrays([names, pa.array(["acme"] * ROWS), names], ["sku", "merchant", "title"])
    table = pa.table(
        {
            "id": numbers,
            "picture": names,
            "group": names,
            "title": names,
            "first_day": pa.array([dt.date(2026, 11, 1)] * ROWS, pa.date32()),
            "offers": pa.ListArray.from_arrays(np.arange(ROWS + 1, dtype=np.int32), offers),
        }
    )
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    return buffer.getvalue()


def cpu_seconds(work: Callable[[], object]) -> float:
    """Return CPU seconds of this thread: others may use the machine."""
    start = time.thread_time()
    work()
    return time.thread_time() - start


def test_a_query_inside_the_handler_costs_little_more_than_faiss_own(benchmark: Any, held: Held) -> None:
    """Books over bare index.search at batch 1, on one thread, interleaved: the search (aim 1.10), and up to JSON."""
    setup = million()
    queries = [np.ascontiguousarray(setup.queries[row : row + 1]) for row in range(ASKED)]
    nothing = WithheldList()
    with held.holder.pin() as served:
        index = served.generation.shelves["red"].index.index  # the very same mapped rows
    index.nprobe = setup.nprobe

    def bare() -> list[Any]:
        return [index.search(query, K) for query in queries]

    def search() -> list[Any]:
        found = []
        for query in queries:
            with held.holder.pin(None, held.space) as one:
                found.append(one.generation.search_vectors(query, ("red",), K, held.space)[0])
        return found

    def handler() -> None:
        for query in queries:
            with held.holder.pin(None, held.space) as one:
                generation = one.generation
                ranked = search_ranked(
                    lambda count, query=query, of_it=generation: of_it.search_vectors(  # type: ignore[misc]
                        query, ("red",), count, held.space
                    )[0],
                    generation.ranking,
                    K,
                    withheld=nothing,
                    rows_of=generation.rows_of,
                )
                PlainReply(one.number, {}, None, (), "", plain_results(ranked)).written()

    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        raw, hits = bare(), search()
        handler()
        rounds = [(cpu_seconds(bare), cpu_seconds(search), cpu_seconds(handler)) for _ in range(ROUNDS)]
        benchmark.pedantic(search, rounds=1, iterations=1)
    finally:
        faiss.omp_set_num_threads(threads)
    bare_seconds, search_seconds, handler_seconds = (statistics.median(column) for column in zip(*rounds, strict=True))
    benchmark.extra_info["recall_at_10"] = round(setup.recall, 4)
    benchmark.extra_info["bare_us"] = round(bare_seconds / ASKED * 1e6, 1)
    benchmark.extra_info["search_us"] = round(search_seconds / ASKED * 1e6, 1)
    benchmark.extra_info["search_to_bare"] = round(statistics.median(b / a for a, b, _ in rounds), 3)
    benchmark.extra_info["with_ranking_and_json_us"] = round(handler_seconds / ASKED * 1e6, 1)
    benchmark.extra_info["with_ranking_and_json_to_bare"] = round(statistics.median(c / a for a, _, c in rounds), 3)
    same = [
        len({hit.id for hit in found} & set(ids[0].tolist())) / K for found, (_, ids) in zip(hits, raw, strict=True)
    ]
    assert np.mean(same) > 0.99


@pytest.mark.parametrize("clients", [1, 8])
def test_answers_over_http(benchmark: Any, held: Held, clients: int) -> None:
    """Books p50 and p99 over one kept connection a client; server and clients share this machine's cores."""
    import uvicorn

    app = make_app(held.holder, ServeSettings(feedback=None), WithheldList)
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="warning", access_log=False))
    listener = server.config.bind_socket()
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        while not server.started:
            time.sleep(0.01)
        began = time.perf_counter()
        taken = benchmark.pedantic(_ask_all, (held, listener.getsockname()[1], clients), rounds=1, iterations=1)
        seconds = time.perf_counter() - began
    finally:
        server.should_exit = True
        thread.join()
        listener.close()
    p50, p99 = np.percentile(taken, [50, 99])
    benchmark.extra_info["p50_ms"] = round(p50 * 1000, 2)
    benchmark.extra_info["p99_ms"] = round(p99 * 1000, 2)
    benchmark.extra_info["queries_per_second"] = round(len(taken) / seconds)


def _ask_all(held: Held, port: int, clients: int) -> list[float]:
    taken: list[float] = []

    def one(client: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        for row in range(client * 250, (client + 1) * 250):
            body = json.dumps({"vector": million().queries[row % 2000].tolist(), "space_id": held.space})
            started = time.perf_counter()
            connection.request("POST", f"/search?k={K}", body, {"Content-Type": "application/json"})
            response = connection.getresponse()
            assert len(json.loads(response.read())["results"]) == K
            taken.append(time.perf_counter() - started)
        connection.close()

    threads = [threading.Thread(target=one, args=(client,)) for client in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(taken) == 250 * clients
    return taken


def test_from_publish_to_served(benchmark: Any, held: Held) -> None:
    """Books seconds over reading the same files and hashing them, which no check can do without."""
    home = held.home
    files = [home / path for path in held.draft.files()]
    started = time.perf_counter()
    for file in files:
        with file.open("rb") as stream:
            hashlib.file_digest(stream, "sha256")
    hashed = time.perf_counter() - started
    size = sum(file.stat().st_size for file in files)
    publish(home, held.draft.model_copy(update={"planid": "again"}))
    first = Holder(home)  # nothing held that could be shared
    started = time.perf_counter()
    done = benchmark.pedantic(first.refresh, rounds=1, iterations=1)
    fresh = time.perf_counter() - started
    started = time.perf_counter()
    publish(home, held.draft.model_copy(update={"planid": "and again"}))
    shared = first.refresh()
    unchanged = time.perf_counter() - started
    assert (done.outcome, shared.outcome) == ("swapped", "swapped")
    benchmark.extra_info["megabytes"] = round(size / 1e6)
    benchmark.extra_info["seconds"] = round(fresh, 2)
    benchmark.extra_info["to_hashing_alone"] = round(fresh / hashed, 2)
    benchmark.extra_info["seconds_of_content_that_is_held"] = round(unchanged, 3)
    started = time.perf_counter()
    first.rollback()
    benchmark.extra_info["rollback_us"] = round((time.perf_counter() - started) * 1e6, 1)


def test_the_stress_at_full_size(benchmark: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """8 clients x 10,000 queries while a generation is swapped in every 50 ms: no answer mixed, none failed."""
    monkeypatch.setattr("sys.argv", ["stress"])
    assert benchmark.pedantic(stress_main, rounds=1, iterations=1) == 0
