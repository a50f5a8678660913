"""recheck, day after day: shops that lose pictures, fall over, take offers off the shelf and bring them back."""

from __future__ import annotations

import csv
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date as Date
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from pydantic import ValidationError

from pipeline.partitions import Partitions
from pipeline.tasks.recheck import Settings
from pipeline.window.checks import CHECKS_SCHEMA, promotions_of
from reporting.record import TaskRecord
from reporting.stores.base import RecordQuery
from tests.pipeline.evict.naive_facts import gone_since
from tests.pipeline.project import DAY_1, Project, draw, new_project, plan_day, store_of, work_off

TASKS = ("collect", "download", "quality", "hash", "dedup", "recheck")
RECHECK = {
    "unit_in": "offer",
    "unit_out": "offer",
    "waits_for_previous_day": True,
    "drop_reasons": ["dead_link", "off_shelf", "expired", "unknown"],
    "metrics": ["offers", "gone", "promotions", "waiting_days"],
}
FAST = {"allow_private": True, "backoff_base_seconds": 0.001, "timeout_seconds": 20}


@dataclass
class Shop:
    """A web shop on the loopback: its pictures by path, what ails it, and who asked for what."""

    url: str = ""
    pictures: dict[str, bytes] = field(default_factory=dict)
    ails: dict[str, int] = field(default_factory=dict)
    looks: list[str] = field(default_factory=list)
    """Paths that were asked for with a range: looks, not downloads."""

    def answer(self, asked: BaseHTTPRequestHandler) -> None:
        if asked.headers["Range"]:
            self.looks.append(asked.path)
        body = self.pictures.get(asked.path, b"")
        asked.send_response(self.ails.get(asked.path, 200 if body else 404))
        asked.send_header("Content-Length", str(len(body)))
        asked.end_headers()
        asked.wfile.write(body)

    def new_looks(self) -> list[str]:
        found, self.looks = sorted(self.looks), []
        return found


@pytest.fixture
def shop() -> Iterator[Shop]:
    state = Shop()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state.answer(self)

        def log_message(self, *words: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    state.url = f"http://127.0.0.1:{server.server_port}"
    yield state
    server.shutdown()
    thread.join(timeout=30)
    server.server_close()
    assert not thread.is_alive()


def jpeg(number: int, quality: int) -> bytes:
    buffer = BytesIO()
    draw(number).save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def rechecking(folder: Path, *, tasks: tuple[str, ...] = TASKS, **settings: Any) -> Project:
    """Make a project whose graph ends with these tasks."""
    project = new_project(folder)
    (project.folder / "pipeline.yaml").write_text(graph_of(project, tasks, settings))
    return project


def graph_of(project: Project, tasks: tuple[str, ...], settings: dict[str, Any]) -> str:
    graph = yaml.safe_load((project.folder / "pipeline.yaml").read_text())
    known = graph["tasks"] | {"recheck": RECHECK | {"settings": FAST | settings}}
    known["download"] |= {"settings": FAST}
    known["dedup"].pop("continues", None)
    ends = [("dedup", "recheck", {"law": "after"}), *zip(TASKS[:4], TASKS[1:5], [{}] * 4, strict=True)]
    graph["tasks"] = {name: known[name] for name in tasks}
    graph["edges"] = [{"from": a, "to": b} | more for a, b, more in ends if b in tasks]
    return yaml.safe_dump(graph, sort_keys=False)


def run_day(project: Project, number: int, shop: Shop, *offers: str) -> None:
    """Run day `number` with these offers, named as their pictures; `-name` is off the shelf."""
    day = day_of(number)
    with (project.folder / f"{day}.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("url", "sku", "merchant", "category", "title", "listed"))
        for offer in offers:
            name = offer.removeprefix("-")
            listed = "false" if offer.startswith("-") else "true"
            writer.writerow((f"{shop.url}/{name}", name, "acme", "red", f"Thing {name}", listed))
    with project.place() as place:
        work_off(place, plan_day(place, day))


def day_of(number: int) -> Date:
    return DAY_1 + timedelta(number - 1)


def record_of(project: Project, number: int) -> TaskRecord:
    day = day_of(number)
    with store_of(project) as store:
        (record,) = store.records(RecordQuery(tasks=("recheck",), date_from=day, date_to=day))
    return record


def booked(project: Project, number: int) -> tuple[int, int, dict[str, int]]:
    record = record_of(project, number)
    assert not record.failed
    return record.input, record.output, record.dropped


def output(project: Project, number: int, name: str) -> pa.Table:
    with project.place() as place:
        (part,) = Partitions(place.store, place.topology, None).of_task("recheck", day_of(number))
        return place.lake.read_table(f"{part.folder}/{name}.parquet")


def verdicts(project: Project, number: int) -> dict[str, str]:
    rows = output(project, number, "checks")
    return dict(zip(rows["sku"].to_pylist(), rows["verdict"].to_pylist(), strict=True))


def test_a_product_dies_is_asked_again_comes_back_and_what_says_nothing_never_dies(tmp_path: Path, shop: Shop) -> None:
    shop.pictures = {f"/{name}": jpeg(number, 95) for number, name in enumerate(("good", "dies", "shelf", "down"))}
    project = rechecking(tmp_path / "project")
    run_day(project, 1, shop, "good", "dies", "shelf", "down")
    assert (shop.new_looks(), booked(project, 1)) == ([], (0, 0, {}))  # seen today: nobody is bothered
    assert set(verdicts(project, 1).values()) == {"alive"}

    shop.ails = {"/dies": 410, "/down": 503}
    run_day(project, 2, shop, "-shelf")
    assert shop.new_looks() == ["/dies", "/down", "/down", "/good"]  # a passing fault is tried once more
    assert booked(project, 2) == (4, 1, {"unknown": 2, "off_shelf": 1})
    assert verdicts(project, 2) == {"good": "alive", "dies": "unknown", "down": "unknown"}
    assert gone_since(output(project, 2, "checks")) == {}

    run_day(project, 3, shop)
    assert booked(project, 3) == (3, 1, {"dead_link": 1, "unknown": 1})
    checks = output(project, 3, "checks")
    (dead,) = checks.filter(checks["gone_since"].is_valid()).to_pylist()
    assert (dead["sku"], dead["verdict"], dead["gone_since"], dead["gone_answers"]) == (
        "dies",
        "dead_link",
        day_of(3),
        2,
    )
    assert gone_since(checks) == {dead["picture"]: day_of(3)}
    dropped = {row["reason"]: row["detail"] for row in output(project, 3, "dropped").to_pylist()}
    assert dropped == {
        "dead_link": "acme/dies dead_link: HTTP 410",
        "unknown": "acme/down server_error: HTTP 503",
    }

    shop.ails = {"/down": 503}
    run_day(project, 4, shop, "shelf")
    assert booked(project, 4) == (3, 2, {"unknown": 1})
    assert verdicts(project, 4) == {"good": "alive", "dies": "alive", "down": "unknown", "shelf": "alive"}
    assert gone_since(output(project, 4, "checks")) == {}
    assert record_of(project, 4).metrics == {"offers": 4, "gone": 0, "promotions": 0, "waiting_days": 0}


@pytest.mark.slow
def test_a_copy_that_is_alive_is_named_in_place_of_a_picture_whose_own_link_died(tmp_path: Path, shop: Shop) -> None:
    shop.pictures = {"/own": jpeg(1, 95), "/copy": jpeg(1, 80), "/page": jpeg(2, 95)}
    project = rechecking(tmp_path / "project", dead_after=1)
    run_day(project, 1, shop, "own", "copy", "page")
    (stored,) = set(_pictures_of(project, "own")) & set(_pictures_of(project, "copy"))
    own = {row["sku"]: row["shown"] for row in output(project, 1, "checks").to_pylist()}
    first, second = ("own", "copy") if own["own"] == stored else ("copy", "own")  # the lower item id survives
    shop.ails = {f"/{first}": 404}
    shop.pictures["/page"] = b"<html>sold out</html>"
    run_day(project, 2, shop)
    assert booked(project, 2) == (3, 1, {"dead_link": 1, "unknown": 1})
    (one,) = promotions_of(output(project, 2, "promotions"))
    assert (one.survivor, one.picture, one.sku) == (stored, own[second], second)
    assert (one.location, one.offers) == (f"{shop.url}/{second}", (("acme", second),))
    assert gone_since(output(project, 2, "checks")) == {}


@pytest.mark.parametrize(
    "loose", [{"user_agent": "a\r\nX: y"}, {"retries": 21}, {"per_day": -1}, {"timeout_seconds": 0}, {"first": 1}]
)
def test_settings_are_as_strict_as_a_downloads(loose: dict[str, Any]) -> None:
    assert not Settings().allow_private
    with pytest.raises(ValidationError):
        Settings(**loose)


def _pictures_of(project: Project, sku: str) -> list[str]:
    rows = output(project, 1, "checks").to_pylist()
    return [row["picture"] for row in rows if row["sku"] == sku]


@pytest.mark.slow
def test_an_offer_from_before_there_was_a_recheck_is_asked_where_its_old_manifest_said(
    tmp_path: Path, shop: Shop
) -> None:
    shop.pictures = {f"/{number}": jpeg(number, 95) for number in range(4)}
    shop.pictures |= {"/copy": jpeg(3, 80)}
    project = rechecking(tmp_path / "project", tasks=TASKS[:-1])
    run_day(project, 1, shop, "0", "1", "3")
    run_day(project, 2, shop, "2", "copy")
    (project.folder / "pipeline.yaml").write_text(graph_of(new_project(tmp_path / "other"), TASKS, {"per_day": 2}))
    run_day(project, 3, shop)
    assert shop.new_looks() in (["/0", "/1"], ["/0", "/3"], ["/1", "/3"])  # two of those longest unseen
    checks = {row["sku"]: row for row in output(project, 3, "checks").to_pylist()}
    assert {sku: row["location"] for sku, row in checks.items()} == {sku: f"{shop.url}/{sku}" for sku in checks}
    assert set(checks) == {"0", "1", "2", "3", "copy"}
    assert checks["copy"]["picture"] == checks["3"]["picture"] == checks["3"]["shown"] != checks["copy"]["shown"]
    assert (record_of(project, 3).metrics["waiting_days"], booked(project, 3)) == (2, (2, 2, {}))
    assert pq.ParquetFile(_file(project, 3)).schema_arrow.names == CHECKS_SCHEMA.names


def _file(project: Project, number: int) -> Path:
    (found,) = (project.folder / "lake" / "recheck" / str(day_of(number))).rglob("checks.parquet")
    return found
