"""Swap a server's generation every 50 ms while clients ask it over HTTP, and let the clients count what was wrong.

    python -m examples.serve.stress --clients 8 --queries 10000

A release is published every second and loaded beside what serves; between two of them the two that are held take
turns. Each of three contents answers each query in its own way. An answer names its generation; what that one must
answer was computed before. `mixed`: an answer that is not exactly its generation's; `failed`: no answer. Both must be
0.
"""

from __future__ import annotations

import argparse
import http.client
import json
import multiprocessing
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from examples.serve.drawn_release import Shape, draw_release, publish_drawn, unit_vectors
from pipeline.lake import Lake
from pipeline.release.manifest import ReleaseDraft
from pipeline.serve.generation import Generation
from reporting.errors import UsageError

_K = 5
_QUERIES = 64
_CONTENTS = 3
Hits = list[tuple[int, float]]
"""(item, distance rounded to 6 digits), nearest first."""


@dataclass(frozen=True)
class Stage:
    """What is served and asked.

    Attributes:
        home: Where the releases lie.
        drafts: What is published, in turn.
        bodies: The queries as JSON.
        expected: By content and query, what must be answered.
    """

    home: Path
    drafts: list[ReleaseDraft]
    bodies: list[bytes]
    expected: list[list[Hits]]


@dataclass
class Tally:
    """What the clients counted."""

    asked: int = 0
    mixed: int = 0
    failed: int = 0
    generations: set[int] = field(default_factory=set)
    seconds: list[float] = field(default_factory=list)
    examples: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Swaps:
    """What the server counted.

    Attributes:
        swaps: Times that another generation began to answer: a new release, or the other one that is held.
        published: Releases that were published and let in.
        refused: Releases that were not; the reasons are in `reasons`.
        waited: Looks at the pointer that found the slot still held by a query.
        seconds: From the begin of each publication to the moment when it served.
        reasons: Of refusals.
    """

    swaps: int
    published: int
    refused: int
    waited: int
    seconds: list[float]
    reasons: list[str]


def set_stage(home: Path, shape: Shape) -> Stage:
    """Draw three contents and compute what each answers, by generations that no server sees."""
    drafts = [draw_release(home, seed, shape=shape) for seed in range(1, _CONTENTS + 1)]
    space = next(iter(drafts[0].categories.values())).space_id
    raw = [[float(value) for value in row] for row in unit_vectors(7, _QUERIES, shape.dim)]
    wide = np.array(raw)
    vectors = (wide / np.linalg.norm(wide, axis=1, keepdims=True)).astype(np.float32)
    expected = []
    for draft in drafts:
        found = Generation(Lake(str(home)), draft.categories).search_vectors(vectors, None, _K, space)
        expected.append([[(hit.id, round(hit.distance, 6)) for hit in hits] for hits in found])
    bodies = [json.dumps({"vector": row, "space_id": space}).encode() for row in raw]
    return Stage(home, drafts, bodies, expected)


def serve(stage: Stage, every: float, publish_every: float, tell: Connection) -> None:
    """Serve and swap until told to stop: sends the port first, `Swaps` last."""
    import uvicorn

    from pipeline.release.withheld import WithheldList
    from pipeline.serve.app import make_app
    from pipeline.serve.holder import Holder
    from pipeline.serve.serve_settings import ServeSettings

    holder = Holder(stage.home)
    publish_drawn(stage.home, stage.drafts[0])
    first = holder.refresh()
    if first.outcome != "swapped":
        raise SystemExit(f"the first release is not served: {first.reason}")
    app = make_app(holder, ServeSettings(feedback=None), WithheldList)
    config = uvicorn.Config(app, host="127.0.0.1", port=0, log_level="warning", access_log=False)
    server = uvicorn.Server(config)
    listener = config.bind_socket()
    over = threading.Event()
    threads = [
        threading.Thread(target=server.run, kwargs={"sockets": [listener]}),
        threading.Thread(target=_swap, args=(holder, every, over)),
    ]
    for thread in threads:
        thread.start()
    while not server.started:
        time.sleep(0.01)
    tell.send(listener.getsockname()[1])
    swaps = _publish(stage, holder, publish_every, tell)
    over.set()
    server.should_exit = True
    for thread in threads:
        thread.join()
    listener.close()
    tell.send(swaps)


def _swap(holder: Any, every: float, over: threading.Event) -> None:
    """Let the other generation that is held answer, again and again; there is none while one is loaded."""
    due = time.perf_counter()
    while not over.is_set():
        due = max(due + every, time.perf_counter())
        over.wait(due - time.perf_counter())
        with suppress(UsageError):
            holder.rollback()


def _publish(stage: Stage, holder: Any, every: float, told: Connection) -> Swaps:
    taken: list[float] = []
    reasons: list[str] = []
    turn, waited = 0, 0
    while not told.poll(every):
        turn += 1
        started = time.perf_counter()
        publish_drawn(stage.home, stage.drafts[turn % _CONTENTS])
        done = holder.refresh()
        while done.outcome == "draining":
            waited += 1
            time.sleep(0.001)
            done = holder.refresh()
        if done.outcome == "swapped":
            taken.append(time.perf_counter() - started)
        else:
            reasons.append(done.reason)
    return Swaps(holder.status().swaps, len(taken), len(reasons), waited, taken, reasons[:3])


def ask(stage: Stage, port: int, queries: int, first: int) -> Tally:
    """Be one client: ask over one connection, one query after the other."""
    tally = Tally()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    headers = {"Content-Type": "application/json"}
    for number in range(first, first + queries):
        row = number % _QUERIES
        started = time.perf_counter()
        try:
            connection.request("POST", f"/search?k={_K}", stage.bodies[row], headers)
            response = connection.getresponse()
            data, status = response.read(), response.status
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            data, status = repr(error).encode(), 0
        tally.seconds.append(time.perf_counter() - started)
        count(tally, stage, row, status, data)
    connection.close()
    return tally


def count(tally: Tally, stage: Stage, row: int, status: int, data: bytes) -> None:
    """Compare one answer with what its generation must answer, and book it."""
    tally.asked += 1
    if status != 200:
        tally.failed += 1
        tally.examples.append(f"{status}: {data[:200]!r}")
        return
    answer = json.loads(data)
    number = answer["generation"]
    tally.generations.add(number)
    found = [(one["item"], one["distance"]) for one in answer["results"]]
    if found != stage.expected[(number - 1) % _CONTENTS][row]:
        tally.mixed += 1
        tally.examples.append(f"generation {number}, query {row}: {found}")


def stress(
    stage: Stage, *, clients: int, queries: int, every: float, publish_every: float, process: bool = True
) -> tuple[Tally, Swaps, float]:
    """Run server and clients; return what the clients counted, what the server counted, and the seconds it took.

    Args:
        stage: From `set_stage`.
        clients: Threads, each with a connection of its own.
        queries: Of each client.
        every: Seconds between two swaps.
        publish_every: Seconds from the end of one publication to the next.
        process: Serve in a process of its own; else in a thread.
    """
    mine, other = multiprocessing.Pipe()
    context: Any = multiprocessing.get_context("spawn")
    start = context.Process if process else threading.Thread
    server = start(target=serve, args=(stage, every, publish_every, other))
    server.start()
    port: int = mine.recv()
    tallies: list[Tally] = []
    began = time.perf_counter()
    threads = [
        threading.Thread(target=lambda at=at: tallies.append(ask(stage, port, queries, at * queries)))
        for at in range(clients)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - began
    mine.send("stop")
    swaps: Swaps = mine.recv()
    server.join()
    return _sum(tallies), swaps, seconds


def _sum(tallies: Sequence[Tally]) -> Tally:
    total = Tally()
    for one in tallies:
        total.asked += one.asked
        total.mixed += one.mixed
        total.failed += one.failed
        total.generations |= one.generations
        total.seconds += one.seconds
        total.examples += one.examples[:3]
    return total


def main() -> int:
    """Run it and print the counts; 1 where an answer was mixed or failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--queries", type=int, default=10_000, help="of each client")
    parser.add_argument("--every-ms", type=float, default=50, help="between two swaps")
    parser.add_argument("--publish-every-ms", type=float, default=1000, help="between two publications")
    parser.add_argument("--rows", type=int, default=5_000, help="of each of two categories")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="funnelgate-stress-") as folder:
        stage = set_stage(Path(folder) / "home", Shape(rows=options.rows, dim=64, nlist=32, nprobe=4))
        tally, swaps, seconds = stress(
            stage,
            clients=options.clients,
            queries=options.queries,
            every=options.every_ms / 1000,
            publish_every=options.publish_every_ms / 1000,
        )
    p50, p99 = np.percentile(tally.seconds, [50, 99])
    served, slowest = np.percentile(swaps.seconds, [50, 99])
    print(f"asked {tally.asked} in {seconds:.1f} s ({tally.asked / seconds:,.0f} a second), mixed {tally.mixed}, "
          f"failed {tally.failed}")  # fmt: skip
    print(
        f"p50 {p50 * 1000:.1f} ms, p99 {p99 * 1000:.1f} ms over HTTP; answers of {len(tally.generations)} generations"
    )
    print(
        f"swaps {swaps.swaps} (one each {seconds / swaps.swaps * 1000:.0f} ms), releases published {swaps.published}, "
        f"refused {swaps.refused}; from publish to served p50 {served * 1000:.0f} ms, p99 {slowest * 1000:.0f} ms"
    )
    for line in [*tally.examples[:5], *swaps.reasons]:
        print(line)
    return 1 if tally.mixed or tally.failed or swaps.refused else 0


if __name__ == "__main__":
    sys.exit(main())
