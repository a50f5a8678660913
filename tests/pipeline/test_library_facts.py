"""What is known of a library, computed in columns: the same as in loops over Python objects."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from datetime import date as Date
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.evict.days import day_number
from pipeline.evict.policy import EvictPolicy
from pipeline.evict.stored import NEVER
from pipeline.evict.stored_of import ByRow, Facts, stored_of
from pipeline.lake import Lake
from pipeline.library_facts import facts_of, look_alikes, without_own_groups
from pipeline.partitions import Partition, Partitions
from pipeline.release.withheld import Withheld, counted
from pipeline.window.live import LIVE_SCHEMA
from reporting.plans import Leaf
from tests.pipeline.evict import naive_facts

DAY = Date(2026, 11, 23)
NAMES = st.sampled_from(["", "m/1", "m/2", "n/1", "g", "h"])
OFFER = st.fixed_dictionaries(
    {
        "sku": st.sampled_from("12"),
        "merchant": st.sampled_from("mn"),
        "title": st.just("T"),
        "group": st.none() | NAMES,
        "item": st.just("i"),
        "category": st.sampled_from(["", "hats", "shoes"]),
        "seen": st.just(DAY),
    }
)
ROWS = st.lists(st.tuples(st.none() | NAMES, st.lists(OFFER, max_size=3)), max_size=8)
ENTRY = st.tuples(
    st.sampled_from([("picture", f"{0:064x}"), ("picture", f"{1:064x}"), ("group", "g"), ("group", "m/1")])
    | st.sampled_from([("offer", "m/1"), ("offer", "n/2"), ("item", "4")]),
    st.sampled_from(["takedown", "delisted"]),
    st.integers(1, 28),
)


class Written:
    """Partitions as a plan would see them: those that were put there."""

    def __init__(self, lake: Lake) -> None:
        self.lake = lake
        self.parts: dict[tuple[str, Date], list[Partition]] = {}

    def put(self, task: str, day: Date, category: str, files: dict[str, Any]) -> Partition:
        mine = self.parts.setdefault((task, day), [])
        part = Partition(Leaf(task, day, category, f"p{len(mine)}"), "plan", 1, f"{task}/{day}/{category}/{len(mine)}")
        for name, content in files.items():
            if isinstance(content, bytes):
                self.lake.write_bytes(f"{part.folder}/{name}", content)
            else:
                self.lake.write_table(f"{part.folder}/{name}", content)
        mine.append(part)
        return part

    def of_task(self, task: str, day: Date) -> list[Partition]:
        return self.parts.get((task, day), [])

    @property
    def seen(self) -> Partitions:
        return cast("Partitions", self)


def library(rows: Iterable[tuple[str | None, list[dict[str, Any]]]], chunks: int = 1, day: Date = DAY) -> Any:
    """Return rows of (group, offers); pictures are numbers in hexadecimal."""
    known = {"item": "i", "title": "T", "first_day": day, "last_seen": day, "pack": "p", "bytes": 1}
    documents = [
        known | {"picture": f"{number:064x}", "group": group, "offers": offers}
        for number, (group, offers) in enumerate(rows)
    ]
    table = pa.Table.from_pylist(documents, schema=LIVE_SCHEMA)
    size = max(1, -(-len(documents) // chunks))
    return pa.concat_tables([table.slice(at, size) for at in range(0, max(1, len(documents)), size)])


def entries(drawn: list[tuple[tuple[str, str], str, int]]) -> list[Withheld]:
    """Return lines of takedowns; the last about a thing counts."""
    lines = [
        Withheld(
            kind=cast("Any", kind),
            value=value,
            reason=cast("Any", reason),
            by="ana",
            why="asked",
            at=datetime(2026, 10, day, tzinfo=UTC),
        )
        for (kind, value), reason, day in drawn
    ]
    return list({(one.kind, one.value): one for one in lines}.values())


def values(known: Any) -> Any:
    assert isinstance(known, ByRow)
    return known.values.to_pylist() if isinstance(known.values, pa.Array | pa.ChunkedArray) else known.values.tolist()


def facts(live: Any, hidden: list[Withheld], tmp_path: Path | str = "/nowhere") -> Facts:
    lake = Lake(str(tmp_path))
    return facts_of(lake, Written(lake).seen, live, DAY, marked=[], checked=[], withheld=counted(hidden))


@settings(max_examples=150, deadline=None)
@given(rows=ROWS, drawn=st.lists(ENTRY, max_size=3), chunks=st.integers(1, 3))
def test_takedowns_shares_and_categories_are_those_of_a_loop(
    rows: list[tuple[str | None, list[dict[str, Any]]]], drawn: list[Any], chunks: int
) -> None:
    live, hidden = library(rows, chunks), entries(drawn)
    found = facts(live, hidden)
    pictures = live["picture"].to_pylist()
    by_rule = [one for one in hidden if one.kind != "item"]
    down, lost = naive_facts.withheld(live, hidden) if by_rule or hidden else (set(), set())
    assert {name for name, one in zip(pictures, values(found.taken_down), strict=True) if one} == down
    latest = max((day_number(one.at.date()) for one in hidden), default=NEVER)
    assert values(found.gone_since) == [latest if name in lost else NEVER for name in pictures]
    assert dict(zip(pictures, values(found.quality), strict=True)) == naive_facts.shares(live)
    known = dict(zip(pictures, values(found.category), strict=True))
    assert {name: one for name, one in known.items() if one} == naive_facts.declared(live)


@settings(max_examples=150, deadline=None)
@given(rows=ROWS, chunks=st.integers(1, 3))
def test_products_that_are_called_after_their_offer_lose_their_name_as_in_a_loop(
    rows: list[tuple[str | None, list[dict[str, Any]]]], chunks: int
) -> None:
    live = library(rows, chunks)
    found = without_own_groups(live)
    assert found.to_pylist() == naive_facts.without_own_groups(live).to_pylist()
    assert found.schema == live.schema


def test_by_row_and_by_name_say_the_same_whatever_the_order_of_the_library() -> None:
    chance = np.random.default_rng(3)
    live = library([("g", []) for _ in range(40)]).take(pa.array(chance.permutation(40)))
    pictures = live["picture"].to_pylist()
    some = [chance.random(40) < 0.4 for _ in range(3)]
    days = chance.integers(20_000, 20_100, 40).astype(np.int32)
    kinds = [["hats", "shoes", None][kind] for kind in chance.integers(0, 3, 40)]
    score = chance.random(40)
    score[3] = np.nan
    by_row = Facts(
        ByRow(some[0]),
        ByRow(some[1]),
        gone_since=ByRow(days),
        marked_on=ByRow(pa.array(days, mask=some[2])),
        category=ByRow(pa.array(kinds)),
        quality=ByRow(score),
        pinned=ByRow(some[2]),
    )
    epoch = Date(1970, 1, 1)
    dates = {name: epoch + timedelta(days=int(day)) for name, day in zip(pictures, days, strict=True)}
    named = [{name for name, one in zip(pictures, mask, strict=True) if one} for mask in some]
    by_name = Facts(
        named[0],
        named[1],
        gone_since=dates,
        marked_on={name: dates[name] for name, masked in zip(pictures, some[2], strict=True) if not masked},
        category={name: kind for name, kind in zip(pictures, kinds, strict=True) if kind},
        quality={name: one for name, one in zip(pictures, score.tolist(), strict=True) if one == one},
        pinned=named[2],
    )
    (one, names), (other, _) = (stored_of(live, EvictPolicy(), DAY, found) for found in (by_row, by_name))
    for column, mine in vars(one).items():
        assert np.array_equal(mine, getattr(other, column)), column
    assert names.by_live_row(one.gone_since).tolist() == days.tolist()
    assert one.pinned.any()
    assert not one.pinned.all()


@pytest.mark.parametrize("seed", range(4))
def test_indexes_checks_and_marks_of_earlier_days_are_read_as_in_a_loop(tmp_path: Path, seed: int) -> None:
    chance = np.random.default_rng(seed)
    lake = Lake(str(tmp_path))
    written = Written(lake)
    days = [DAY - timedelta(days=age) for age in range(5)]
    first = [days[number] for number in chance.integers(0, 5, 60)]
    live = library([("g", [])] * 60).set_column(
        LIVE_SCHEMA.get_field_index("first_day"), "first_day", pa.chunked_array([pa.array(first, pa.date32())])
    )
    pictures = live["picture"].to_pylist()
    every = [*pictures, "gone", "elsewhere"]
    rows: dict[str, list[float]] = {}
    missing = set()
    for number, day in enumerate(days[1:]):
        for category in ("hats", "shoes"):
            written.put("embed", day, category, {})
            if (number, category) == (seed, "shoes"):
                missing.add(day)
                continue
            some = chance.choice(every, 25).tolist()
            unique = [None if one < 0.3 else float(np.float32(one)) for one in chance.random(25)]
            written.put(
                "index",
                day,
                category,
                {
                    "items.parquet": pa.table(
                        {"id": list(range(25)), "picture": some, "uniqueness": pa.array(unique, pa.float32())}
                    )
                },
            )
            for name, one in zip(some, unique, strict=True):
                rows.setdefault(name, []).extend([] if one is None else [one])
    checks = pa.table(
        {
            "picture": chance.choice(every, 80).tolist(),
            "gone_since": pa.array([days[at] if at < 5 else None for at in chance.integers(0, 6, 80)], pa.date32()),
        }
    )
    marked = dict(zip(chance.permutation(every)[:20].tolist(), [DAY, None] * 10, strict=True))
    audit = pa.table({"picture": list(marked), "marked_on": pa.array(list(marked.values()), pa.date32())})
    found = facts_of(
        lake,
        written.seen,
        live,
        DAY,
        marked=[written.put("evict", days[1], "", {"eviction.parquet": audit})],
        checked=[
            written.put("recheck", DAY, "", {"checks.parquet": part})
            for part in (checks.slice(0, 30), checks.slice(30))
        ],
        withheld=counted([]),
    )
    unsure = [day in missing for day in first]
    assert values(found.pinned) == unsure
    assert values(found.indexed) == [name in rows and not one for name, one in zip(pictures, unsure, strict=True)]
    best = [max(rows.get(name) or [np.nan]) for name in pictures]
    assert np.array_equal(values(found.uniqueness), best, equal_nan=True)
    gone = naive_facts.gone_since(checks)
    assert values(found.gone_since) == [day_number(gone[name]) if name in gone else NEVER for name in pictures]
    stored, _ = stored_of(live, EvictPolicy(), DAY, found)
    assert stored.marked_on.tolist() == [day_number(DAY) if marked.get(name) else NEVER for name in pictures]


def test_look_alikes_take_the_surest_object_that_is_left_of_nameless_pictures_of_days_before(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path))
    written = Written(lake)
    before = DAY - timedelta(days=2)
    live = library([("", []), ("g", []), ("", []), ("", []), ("", [])], day=before)
    offer = {"sku": "1", "merchant": "m", "group": "named", "category": "", "title": "T", "item": "i", "seen": DAY}
    rows = live.to_pylist()
    rows[3]["offers"] = [offer]
    rows[4]["first_day"] = DAY  # its vector is not there yet
    live = pa.Table.from_pylist(rows, schema=LIVE_SCHEMA)
    name = live["picture"].to_pylist()
    written.put("index", before, "hats", {"shard.json": b'{"space_id": "s1"}'})
    objects = [(0, 1, [0.0, 1]), (0, 0, [1.0, 0]), (1, 0, [1.0, 1]), (2, 0, None), (2, 1, [0.5, 0]), (3, 0, [9.0, 9])]
    columns = {
        "picture": [name[row] for row, *_ in objects],
        "ordinal": pa.array([ordinal for _, ordinal, _ in objects], pa.int32()),
        "vector": pa.array([vector for *_, vector in objects], pa.list_(pa.float32(), 2)),
    }
    written.put("embed", before, "hats", {"items.parquet": pa.table(columns)})
    second = {"picture": [name[0], "x"], "ordinal": pa.array([0, 0], pa.int32()), "vector": columns["vector"][:2]}
    written.put("embed", before, "hats", {"items.parquet": pa.table(second)})
    written.put("embed", before, "mugs", {"items.parquet": pa.table(columns)})  # of no index: of no known space
    (space,) = look_alikes(lake, written.seen, live, DAY)
    assert (space.rows.tolist(), space.vectors.tolist()) == ([0, 2], [[1.0, 0.0], [0.5, 0.0]])
    assert look_alikes(lake, written.seen, live.slice(0, 0), DAY) == []
