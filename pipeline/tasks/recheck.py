"""recheck: ask again whether the offers of stored pictures are alive, so many a day, the oldest check first.

The state of every offer (`checks`) is carried from day to day as this task's own output. Where an offer's picture lies
is known from the manifest that showed it. Input are the offers that had their turn: those asked, and those that became
gone without being asked, because the day's manifest took them off the shelf or their time was over. Output are those
found alive.
"""

from __future__ import annotations

import asyncio
from datetime import date as Date
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import ConfigDict, Field

from pipeline.evict.days import day_number
from pipeline.evict.liveness import (
    Answer,
    Offers,
    RecheckRules,
    Rows,
    Verdict,
    lapse,
    settle,
    sight,
    turn,
    waiting_days,
)
from pipeline.evict.promote import promotions
from pipeline.fetch.fetch import FetchRequest, FetchResult, fetch_all
from pipeline.fetch.policy import FetchPolicy, Positive, Reason
from pipeline.images.header import sniff
from pipeline.planner import read_split
from pipeline.tasks.context import LeafContext
from pipeline.tasks.drops import Drop, write_drops
from pipeline.window.checks import (
    CHECKS_SCHEMA,
    follow,
    forgotten,
    locate,
    mentioned,
    promotion_table,
    state_of,
    with_state,
)

_FIRST_BYTES = 512
"""Asked of each place: what a picture begins with has at most 12."""
_HEARD: tuple[Reason | None, ...] = (None, "no_permission", "not_an_image", "too_large")
"""Results that somebody on the network must have answered."""
_MANIFEST = pa.schema(
    [*((name, pa.string()) for name in ("item", "location", "kind", "merchant", "sku")), ("listed", pa.bool_())]
)
_HANDED = pa.schema([(name, pa.string()) for name in ("item", "picture", "survivor")])


class Settings(FetchPolicy, RecheckRules):
    """How many offers are asked, and the fetch policy, less patient than a download's."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    timeout_seconds: Positive = 10.0
    """A host that is down costs so long for each of its offers, `per_host_connections` at a time."""
    retries: int = Field(default=1, ge=0, le=20)
    user_agent: str = Field(default="funnelgate/0.1 (is this picture still there)", pattern=r"^[\x20-\x7e]+$")


class Said(NamedTuple):
    """What asking one place has brought."""

    answer: Answer
    detail: str
    is_online: bool
    """Whether somebody on the network has answered."""


class _Files(NamedTuple):
    """What a day's files say of its offers."""

    rows: pa.Table
    handed: pa.Table


def run(leaf: LeafContext, settings: Settings) -> None:
    """Bring the checks up to the day, ask those whose turn it is, and write `checks` and `promotions`."""
    day = day_number(leaf.key.date)
    before, files = _before(leaf), _files_of(leaf, leaf.key.date)
    listed, off = (files.rows.filter(mask) for mask in (files.rows["listed"], pc.invert(files.rows["listed"])))
    checks = _located(leaf, follow(before, _library(leaf), leaf.key.date), files)
    offers = sight(state_of(checks), mentioned(checks, listed), mentioned(checks, off), day)
    asked = turn(offers, settings, day)
    said = _ask(checks.take(pa.array(asked)), settings)
    is_online = any(one.is_online for one in said)
    offers = settle(offers, asked, [one.answer for one in said], day, settings, is_online=is_online)
    offers = lapse(offers, settings, day)
    checks = with_state(checks, offers)
    left = forgotten(before, checks)
    left = left.filter(pa.array(mentioned(left, off) & ~mentioned(left, listed)))
    _book(leaf, _alive(checks, asked, said), _drops(checks, offers, asked, said, day), left["item"].to_pylist())
    leaf.write("checks", checks)
    found = promotions(checks)
    leaf.write("promotions", promotion_table(found))
    leaf.books.measure("offers", len(offers))
    leaf.books.measure("gone", int((offers.verdict >= Verdict.DEAD_LINK).sum()))
    leaf.books.measure("promotions", len(found))
    leaf.books.measure("waiting_days", waiting_days(offers, settings, day))


def _before(leaf: LeafContext) -> pa.Table:
    """Return the checks as the nearest earlier day left them; empty when there is none."""
    for day in leaf.partitions.days_before(leaf.key.task, leaf.key.date, count=30):
        found = leaf.partitions.of_task(leaf.key.task, day)
        if found:
            leaf.remember(found)
            return leaf.lake.read_table(f"{found[0].folder}/checks.parquet")
    return CHECKS_SCHEMA.empty_table()


def _library(leaf: LeafContext) -> pa.Table:
    """Return picture and offers of the library as dedup handed it on: what was kept yesterday and what came today."""
    found = leaf.partitions.of_task("dedup", leaf.key.date)
    leaf.remember(found)
    return pa.concat_tables(
        [leaf.lake.read_table(f"{one.folder}/live.parquet", ["picture", "offers"]) for one in found]
    )


def _files_of(leaf: LeafContext, day: Date) -> _Files:
    """Return the manifest rows and hand-overs of a day; empty ones where the lake has none of it."""
    rows, handed = [_MANIFEST.empty_table()], [_HANDED.empty_table()]
    for part in leaf.partitions.of_task("collect", day):
        split = read_split(leaf.store.split_text(part.planid, day))
        leaf.remember([part])
        names = split.packages if split is not None else ()
        rows += [leaf.lake.read_table(f"{part.folder}/package-{name}.parquet", _MANIFEST.names) for name in names]
    for part in leaf.partitions.of_task("dedup", day):
        leaf.remember([part])
        handed.append(leaf.lake.read_table(f"{part.folder}/handover.parquet", _HANDED.names))
    return _Files(
        pa.concat_tables([table.cast(_MANIFEST) for table in rows]),
        pa.concat_tables([table.cast(_HANDED) for table in handed]),
    )


def _located(leaf: LeafContext, checks: pa.Table, today: _Files) -> pa.Table:
    """Return the checks with the place of every offer whose manifest is still in the lake.

    Offers that were stored on days without this task are looked up on the day of their last sighting, once: what is
    not found then has no place, is never asked, and counts as shown by its picture.
    """
    checks = locate(checks, today.rows, today.handed, leaf.key.date)
    missing = pc.unique(checks.filter(checks["shown"].is_null())["last_confirmed"]).to_pylist()
    for day in sorted(day for day in missing if day < leaf.key.date):
        files = _files_of(leaf, day)
        checks = locate(checks, files.rows, files.handed, day)
    place = checks.column_names.index("shown")
    return checks.set_column(place, "shown", pc.coalesce(checks["shown"], checks["picture"]))


def _ask(asked: pa.Table, settings: Settings) -> list[Said]:
    """Ask every row's place, a place of several rows once, and return what was said of each row, in their order."""
    places = list(zip(asked["kind"].to_pylist(), asked["location"].to_pylist(), strict=True))
    known = list(dict.fromkeys(places))
    found: dict[tuple[str, str], Said] = {}

    async def note(result: FetchResult) -> None:
        kind, location = known[int(result.item)]
        found[kind, location] = _said(result, kind)

    requests = (
        FetchRequest(str(number), location, kind, first_bytes=_FIRST_BYTES)
        for number, (kind, location) in enumerate(known)
    )
    if known:
        asyncio.run(fetch_all(requests, settings, on_result=note, inspect=_inspect))
    return [found[place] for place in places]


def _inspect(data: bytes) -> Reason | None:
    # Many shops send a page that says "sold out" with status 200: that is no picture, and no word about it either.
    return None if sniff(data) is not None else "not_an_image"


def _said(result: FetchResult, kind: str) -> Said:
    detail = f"{result.reason}: {result.detail}" if result.reason else ""
    is_online = kind == "url" and (result.reason in _HEARD or result.absence == "gone")
    if result.ok is not None:
        return Said(Answer.ALIVE, detail, is_online)
    if result.absence == "gone":
        return Said(Answer.GONE, detail, is_online)
    return Said(Answer.UNREACHABLE if result.absence == "unreachable" else Answer.NOTHING, detail, is_online)


def _alive(checks: pa.Table, asked: Rows, said: list[Said]) -> list[str]:
    rows = [row for row, one in zip(asked.tolist(), said, strict=True) if one.answer is Answer.ALIVE]
    alive: list[str] = checks["item"].take(pa.array(rows, pa.int64())).to_pylist()
    return alive


def _drops(checks: pa.Table, offers: Offers, asked: Rows, said: list[Said], day: int) -> list[Drop]:
    """Return what was asked and is not alive, and what went today without being asked."""
    details = {row: one.detail for row, one in zip(asked.tolist(), said, strict=True) if one.answer is not Answer.ALIVE}
    silently = np.setdiff1d(np.flatnonzero(offers.gone_since == day), asked).tolist()
    rows = [*details, *silently]
    named = checks.select(["item", "merchant", "sku"]).take(pa.array(rows, pa.int64()))
    return [
        (
            one["item"],
            Verdict(offers.verdict[row]).label,
            f"{one['merchant']}/{one['sku']} {details.get(row, '')}".strip(),
        )
        for row, one in zip(rows, named.to_pylist(), strict=True)
    ]


def _book(leaf: LeafContext, alive: list[str], drops: list[Drop], left: list[str]) -> None:
    """Book the turn: found alive, dropped, and what left the library because its merchant took it off the shelf."""
    drops = [*drops, *((item, Verdict.OFF_SHELF.label, "its picture went with it") for item in left)]
    leaf.books.take([*alive, *(item for item, _, _ in drops)])
    write_drops(leaf, drops)
    leaf.books.keep(alive)
