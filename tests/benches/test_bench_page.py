"""What the page costs on a store of 30 tasks x 300 leaves a day, beside bare SQL that reads the same.

FUNNELGATE_BENCH_PAGE_DAYS=365 makes the full size: 3.3 million records, 3 GB of disk, 100 s to fill.
"""

from __future__ import annotations

import json
import os
import sqlite3
import statistics
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from dashboards.page.desk import HEAT_DAYS, Desk
from dashboards.page.kept import Kept
from dashboards.page.links import day_path, leaves_path
from dashboards.page.render import render
from dashboards.page.routes import page_at
from reporting.key import RunKey
from reporting.stores.sql import SqlStore
from reporting.testing import make_record
from tests.benches.many_days import DAY, NOW, chain, fill
from tests.dashboards.page.no_sources import NoSources

DAYS = int(os.environ.get("FUNNELGATE_BENCH_PAGE_DAYS", "60"))
TOPOLOGY = chain(30)
SUMS = (
    "SELECT date, task, planid, COUNT(*), SUM(input), SUM(output), SUM(produced), SUM(dropped_total),"
    " SUM(failed_total), SUM(seconds) FROM record WHERE date >= ? GROUP BY date, task, planid"
)
REQUESTS = 20


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SqlStore]:
    path = tmp_path_factory.mktemp("page") / "books.db"
    with fill(path, TOPOLOGY, categories=10, packages=30, days=DAYS) as found:
        yield found


def timed(work: Callable[[], Any]) -> tuple[float, float]:
    """Return CPU and wall seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.process_time() - cpu, time.perf_counter() - wall


def bare(path: str) -> None:
    """Read what the overview and a day's pages show, without any of our code: sums of all days, bodies of one."""
    with sqlite3.connect(path) as connection:
        connection.execute(SUMS, ((DAY - timedelta(days=HEAT_DAYS - 1)).isoformat(),)).fetchall()
        for (body,) in connection.execute("SELECT body FROM record WHERE date = ?", (DAY.isoformat(),)):
            json.loads(body)
    connection.close()


def pages(store: SqlStore) -> int:
    """Make the overview and the newest day's two pages; return the bytes of the largest."""
    desk = Desk(store, TOPOLOGY, NoSources(), NOW)
    return max(len(text(desk, path)) for path in ("index.html", day_path(DAY), leaves_path(DAY)))


def text(desk: Desk, path: str) -> bytes:
    page = page_at(desk, path)
    assert page is not None
    return render(page, desk.site(live=True)).encode()


@pytest.mark.benchmark(group="page")
def test_overview_and_day(benchmark: Any, store: SqlStore) -> None:
    """CPU time of three pages made from nothing, against bare SQL and `json.loads` of what stands on them."""
    path = str(store.engine.url.database)
    largest = pages(store)  # templates are compiled, the file is in memory
    bare(path)
    rival, _ = timed(lambda: bare(path))
    ours, wall = timed(lambda: pages(store))
    benchmark.extra_info |= {
        "records": f"{DAYS * 9000:,}",
        "cpu_seconds": round(ours, 2),
        "wall_seconds": round(wall, 2),
        "times_bare_sql": round(ours / rival, 1),
        "largest_page_mb": round(largest / 1e6, 2),
    }
    benchmark.pedantic(pages, args=(store,), rounds=1, iterations=1)
    assert largest < 5_000_000


@pytest.mark.benchmark(group="page")
def test_live_overview(benchmark: Any, store: SqlStore) -> None:
    """A request for the overview when nothing has changed since the last, an older day has, or the newest."""
    path, kept = str(store.engine.url.database), Kept(store, TOPOLOGY)

    def request() -> None:
        text(Desk(store, TOPOLOGY, NoSources(), NOW, kept=kept), "index.html")

    def changed(back: int) -> float:
        day = DAY - timedelta(days=back)
        key = RunKey(task="task-00", date=day, planid=f"daily-{day}", category="category-00", subinstance="0001")
        with store.begin() as work:
            work.put_record(make_record(key=key, attempt=2, input=77))
        return timed(request)[0]

    first, _ = timed(request)
    found = [timed(request) for _ in range(REQUESTS)]
    rival, _ = timed(lambda: bare(path))
    cpu = statistics.median(cpu for cpu, _ in found)
    benchmark.extra_info |= {
        "first_cpu_ms": round(1000 * first),
        "median_cpu_ms": round(1000 * cpu),
        "most_cpu_ms": round(1000 * max(cpu for cpu, _ in found)),
        "median_wall_ms": round(1000 * statistics.median(wall for _, wall in found)),
        "of_bare_sql": round(cpu / rival, 2),
        "after_a_record_of_an_older_day_cpu_ms": round(1000 * changed(9)),
        "after_a_record_of_the_newest_day_cpu_ms": round(1000 * changed(0)),
    }
    benchmark.pedantic(request, rounds=1, iterations=1)
    assert cpu < rival


def test_the_store_is_as_large_as_it_says(store: SqlStore) -> None:
    with sqlite3.connect(Path(str(store.engine.url.database))) as connection:
        assert connection.execute("SELECT COUNT(*) FROM record").fetchone() == (DAYS * 9000,)
    connection.close()
