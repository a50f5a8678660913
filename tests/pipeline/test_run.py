"""Days run to their end: the books are what was put in, everything is found, and nothing is lost on the way."""

from __future__ import annotations

import signal
from collections.abc import Callable
from datetime import date as Date
from pathlib import Path

import pytest

import pipeline.tasks.hash as hash_task
from pipeline.images.decode import DecodeLimits, PictureError
from pipeline.images.dhash import dhash64
from pipeline.lake import Lake
from pipeline.serve.answer import Answer, answer
from pipeline.sources import item_id
from pipeline.worker_process import serve
from reporting.booking import Booking
from reporting.effective import effective_records
from reporting.funnel import funnel
from reporting.plans import PlanState
from reporting.record import State
from reporting.stores.base import RecordQuery
from tests.pipeline.arrivals import CATEGORIES, DAYS, DELISTED, FUNNEL, OFFERS, arrive, placed
from tests.pipeline.comparison import books, faults, merged_rows, released_date
from tests.pipeline.project import DAY_1, DAY_2, DAY_3, Project, draw, new_project, plan_day, row, run_here, work_off

Copy = Callable[[Project], Project]


def found(project: Project, picture: str, k: int = 1) -> Answer:
    return answer(Lake(str(project.folder / "lake")), project.folder / "pictures" / picture, k)


@pytest.mark.parametrize("day", DAYS, ids=str)
def test_the_funnel_is_what_was_put_in(three_days: Project, day: Date) -> None:
    with three_days.place() as place:
        rows = {one.task: one for one in funnel(place.topology, effective_records(place.store, day, day))}
    booked = {task: (rows[task].input, rows[task].dropped) for task in FUNNEL[day]}
    assert booked == FUNNEL[day]
    assert not any(one.failed for one in rows.values())


@pytest.mark.parametrize("day", DAYS, ids=str)
def test_the_fan_out_books_each_category_and_its_sums_go_on(three_days: Project, day: Date) -> None:
    with three_days.place() as place:
        for task in ("categorise", "embed", "index"):
            records = place.store.records(RecordQuery(tasks=(task,), date_from=day, date_to=day))
            counts = {name or "other": 0 for name in CATEGORIES}
            for record in records:
                counts[record.key.category] += record.input
            assert counts == placed(day)


def test_the_books_close_and_nothing_is_left_over(three_days: Project) -> None:
    assert faults(three_days) == []


@pytest.mark.parametrize(("picture", "offers"), OFFERS.items())
def test_a_picture_is_found_with_all_its_offers(three_days: Project, picture: str, offers: set[object]) -> None:
    (hit,) = found(three_days, picture).results
    assert {(offer.merchant, offer.sku) for offer in hit.offers} == offers
    assert hit.distance == pytest.approx(0, abs=0.01)  # the survivor may be a recompressed copy


@pytest.mark.parametrize(("picture", "offer"), DELISTED.items())
def test_what_went_off_the_shelf_is_not_found_any_more(
    three_days: Project, picture: str, offer: tuple[str, str]
) -> None:
    listed = [(one.merchant, one.sku) for hit in found(three_days, picture, k=1000).results for one in hit.offers]
    assert len(listed) == 29 + 4  # every live item, and the offers handed over on two of them
    assert offer not in listed


def test_the_drops_of_the_funnel_can_be_traced_to_items(three_days: Project) -> None:
    lake = Lake(str(three_days.folder / "lake"))
    reasons: dict[str, int] = {}
    for path in sorted((three_days.folder / "lake" / "quality" / str(DAY_1)).rglob("dropped.parquet")):
        for one in lake.read_table(str(path.relative_to(three_days.folder / "lake"))).to_pylist():
            assert one["detail"]
            reasons[one["reason"]] = reasons.get(one["reason"], 0) + 1
    assert reasons == FUNNEL[DAY_1]["quality"][1]


@pytest.mark.slow
def test_the_same_arrivals_give_the_same_books_and_indexes_again(three_days: Project, tmp_path: Path) -> None:
    again = new_project(tmp_path / "again", package_items=10)
    arrive(again)
    run_here(again, *DAYS)
    # Items and groups go by what the manifests say, ids and vectors by the pictures: nothing depends on the run.
    assert books(again) == books(three_days)
    assert merged_rows(again) == merged_rows(three_days)


def test_a_day_without_arrivals_keeps_what_was_there(three_days: Project, copy_of: Copy) -> None:
    project = copy_of(three_days)
    fourth = Date(2026, 11, 4)
    project.manifest(fourth, [])
    (plan,) = run_here(project, fourth)
    assert plan.state is PlanState.COMPLETE
    with project.place() as place:
        rows = {one.task: one for one in funnel(place.topology, effective_records(place.store, fourth, fourth))}
    booked = {task: rows[task].output for task in ("collect", "download", "index", "merge")}
    assert booked == {"collect": 0, "download": 0, "index": 0, "merge": 29}
    assert rows["download"].kept_ratio is None
    assert released_date(project) == str(fourth)
    assert found(project, "0.png").results[0].distance == 0
    assert faults(project) == []


def test_a_day_where_every_picture_is_broken_drops_them_all_and_loses_nothing(
    three_days: Project, copy_of: Copy
) -> None:
    project = copy_of(three_days)
    fourth = Date(2026, 11, 4)
    rows = [row(f"pictures/none-{number}.png", f"n{number}") for number in range(4)]
    for number in range(4):
        (project.folder / f"pictures/junk-{number}.png").write_bytes(b"\x89PNG\r\n\x1a\n junk")
        rows.append(row(f"pictures/junk-{number}.png", f"j{number}", category="red"))
    project.manifest(fourth, rows)
    (plan,) = run_here(project, fourth)
    assert plan.state is PlanState.COMPLETE
    with project.place() as place:
        found_rows = {one.task: one for one in funnel(place.topology, effective_records(place.store, fourth, fourth))}
    assert found_rows["download"].dropped == {"dead_link": 4, "not_an_image": 4}
    assert found_rows["embed"].input == 0
    assert found_rows["merge"].output == 29
    assert faults(project) == []


@pytest.mark.parametrize("arrivals", ["nothing", "broken"])
def test_a_first_day_without_one_usable_picture_ends_inconclusive(tmp_path: Path, arrivals: str) -> None:
    project = new_project(tmp_path / "project")
    project.manifest(DAY_1, [row("pictures/none.png", "n1")] if arrivals == "broken" else [])
    (plan,) = run_here(project, DAY_1)
    assert plan.state is PlanState.OPEN
    with project.place() as place:
        records = place.store.records(RecordQuery(tasks=("evaluate",)))
    ((state, error),) = [(record.state, record.error) for record in records]
    assert state is State.FAILED
    assert error is not None
    assert error.error_class == "Inconclusive"
    assert "no category has an item to search" in error.message


@pytest.mark.slow
def test_a_category_without_arrivals_today_stays_in_the_release(tmp_path: Path) -> None:
    project = new_project(tmp_path / "project")
    project.manifest(DAY_1, [row(project.drawn(n), f"s{n}", category="red" if n % 2 else "green") for n in range(6)])
    project.manifest(DAY_2, [row(project.drawn(n), f"s{n}", category="red") for n in range(6, 9)])
    project.manifest(DAY_3, [])
    run_here(project, DAY_1, DAY_2, DAY_3)
    for number in range(9):
        assert found(project, f"{number}.png").results[0].distance == pytest.approx(0, abs=1e-6)


def test_a_day_waits_for_the_late_indexes_of_the_day_before(tmp_path: Path) -> None:
    project = new_project(tmp_path / "project")
    for day, numbers in ((DAY_1, range(4)), (DAY_2, range(4, 6))):
        project.manifest(day, [row(project.drawn(n), f"s{n}") for n in numbers])
    with project.place() as place:
        first, second = plan_day(place, DAY_1), plan_day(place, DAY_2)
        # The first day has been deduplicated, and its vectors are late.
        early = ("collect", "download", "quality", "hash", "dedup")
        work_off(place, first, tasks=early)
        work_off(place, second)
        half_done = place.store.get_plan(second.planid)
        assert half_done is not None
        assert half_done.state is PlanState.OPEN
        work_off(place, first, second)
    assert faults(project) == []
    assert {hit.distance for number in range(6) for hit in found(project, f"{number}.png").results} == {0.0}


@pytest.mark.slow
def test_without_evict_a_product_leaves_the_release_when_its_window_is_over(tmp_path: Path) -> None:
    project = new_project(tmp_path / "project")
    project.forget_by_age()
    for task in ("dedup", "merge", "index"):
        project.configure(**{task: {"window_days": 2}})
    seen = {DAY_1: (0, 1), DAY_2: (1, 2), DAY_3: (3,)}
    for day, numbers in seen.items():
        project.manifest(day, [row(project.drawn(n), f"s{n}") for n in numbers])
    run_here(project, *seen)
    live = {offer.sku for hit in found(project, "3.png", k=100).results for offer in hit.offers}
    assert live == {"s1", "s2", "s3"}  # s1 came on the first day too, and was seen again on the second
    with project.place() as place:
        records = place.store.records(RecordQuery(tasks=("merge",), date_from=DAY_3))
    dropped = [(record.key.category, record.input, dict(record.dropped)) for record in records if record.input]
    assert dropped == [("red", 4, {"out_of_window": 1})]
    assert faults(project) == []


def test_an_attempt_that_books_an_item_twice_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = new_project(tmp_path / "project")
    project.manifest(DAY_1, [row(project.drawn(n), f"s{n}") for n in range(2)])
    keep = Booking.keep

    def keep_twice(self: Booking, items: object) -> None:
        keep(self, items)  # type: ignore[arg-type]
        if self.key.task == "quality":
            keep(self, items)  # type: ignore[arg-type]

    monkeypatch.setattr(Booking, "keep", keep_twice)
    run_here(project, DAY_1)
    with project.place() as place:
        errors = [record.error for record in place.store.records(RecordQuery(tasks=("quality",)))]
    assert [error and error.error_class for error in errors] in (["RecordError"], ["ValidationError"])


def test_a_picture_that_breaks_between_two_tasks_is_booked_as_failed_and_the_rest_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = new_project(tmp_path / "project")
    project.manifest(DAY_1, [row(project.drawn(n), f"s{n}") for n in range(3)])
    poison = (project.folder / "pictures/1.png").read_bytes()

    def picky(data: bytes, **options: object) -> object:
        if data == poison:
            raise PictureError("undecodable", "bad luck")
        return dhash64(data, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(hash_task, "dhash64", picky)
    run_here(project, DAY_1)
    with project.place() as place:
        (record,) = place.store.records(RecordQuery(tasks=("hash",)))
    assert (record.state, record.input, record.output, record.failed) == (State.SUCCEEDED, 3, 2, {"PictureError": 1})
    assert faults(project) == []


def test_pictures_drawn_for_these_tests_are_all_different(tmp_path: Path) -> None:
    project = new_project(tmp_path / "project")
    values = []
    for number in [*range(25), *range(100, 108), *range(200, 207)]:
        path = project.folder / project.picture(f"{number}.png", draw(number))
        values.append(dhash64(path.read_bytes(), limits=DecodeLimits(), min_detail=0).value)
    nearest = min(
        (a ^ b).bit_count() for i, a in enumerate(values) for b in values[:i] if a is not None and b is not None
    )
    assert nearest > 12


GATE = """\
schema: gate/1
rules: [{id: any, kind: floor, metric: hit@5, min: 0.0, bound: point}]
"""


def test_a_picture_that_once_gave_way_to_another_is_found_when_it_comes_back_alone(tmp_path: Path) -> None:
    project = new_project(tmp_path / "project")
    rows = [row(project.drawn(1), "first"), row(project.picture("again.jpg", draw(1), quality=80), "second")]
    project.picture("query.jpg", draw(1), quality=60)
    rows.sort(key=lambda one: item_id(one["merchant"], one["sku"], one["path"]))
    dropped = rows[1]  # the lowest item survives
    (project.folder / "queries.csv").write_text(f"path,group,category\npictures/query.jpg,acme/{dropped['sku']},red\n")
    (project.folder / "gate.yaml").write_text(GATE)
    project.configure(evaluate={"queries": "queries.csv", "gate": "gate.yaml"})
    other = row(project.drawn(2), "other")
    project.manifest(DAY_1, [*rows, other])
    project.manifest(DAY_2, [{**one, "listed": "false"} for one in rows])
    project.manifest(DAY_3, [dropped])
    run_here(project, DAY_1, DAY_2, DAY_3)
    with project.place() as place:
        found_rows = {
            record.key.date: record.metrics.get("hit_at_5")  # of two items: found at all
            for record in place.store.records(RecordQuery(tasks=("evaluate",)))
        }
    assert found_rows[DAY_1] == 1.0  # by the survivor
    assert found_rows[DAY_3] == 1.0  # by itself


def test_a_worker_started_by_hand_drains_what_there_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = new_project(tmp_path / "project")
    project.manifest(DAY_1, [row(project.drawn(n), f"s{n}") for n in range(2)])
    handlers: dict[int, Callable[..., None]] = {}
    monkeypatch.setattr("pipeline.worker_process.signal.signal", handlers.__setitem__)
    with project.place() as place:
        plan = plan_day(place, DAY_1)
        serve(place, planids=(), tasks=("collect", "download"), name=None, parent=None, drain=True)
        assert {record.key.task for record in place.store.records(RecordQuery())} == {"collect", "download"}
        # Orphaned, it stops before it claims anything.
        serve(place, planids=(), tasks=(), name=None, parent=1 << 22, drain=False)
        assert len(place.store.records(RecordQuery())) == 2
        serve(place, planids=(plan.planid,), tasks=(), name=None, parent=None, drain=True)
        ended = place.store.get_plan(plan.planid)
    assert ended is not None
    assert ended.state is PlanState.COMPLETE
    assert set(handlers) == {signal.SIGTERM, signal.SIGINT}
