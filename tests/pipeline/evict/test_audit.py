"""The row that each decision leaves, and what it says to a person."""

from __future__ import annotations

from datetime import date as Date
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from pipeline.evict.audit import audit_blocks, audit_rows, audit_schema, audit_table, checked_audit, explain_row
from pipeline.evict.decide import decide
from pipeline.evict.decisions import Reason
from pipeline.evict.policy import EvictPolicy
from reporting.errors import DataError
from tests.pipeline.evict import naive_facts
from tests.pipeline.evict.live_rows import named
from tests.pipeline.evict.stored_rows import Picture, stored_of

DAY = 20780
OLD = DAY - 100
EVERY_REASON = [
    Picture(0, DAY, (0,)),
    Picture(1, OLD, (1,)),
    Picture(2, OLD, (1,), value=0.5, pinned=True),
    Picture(3, OLD, (1,), gone_since=DAY - 1),
    Picture(4, OLD, (0,)),
    Picture(5, OLD, (0,), taken_down=True),
    Picture(6, OLD, (0,), gone_since=OLD),
    Picture(7, OLD, (0, 3), value=0.25, marked_on=DAY - 1),
    Picture(8, OLD, (1,), value=-1, marked_on=DAY - 2),
    Picture(9, OLD, (2,), indexed=False),
    Picture(10, OLD, (3,), value=0.5),
]
POLICY = EvictPolicy(window_days=10, min_per_group=1, max_per_group=2, delist_days=5, tail_budget={"shoes": 2})


def audit_of(pictures: list[Picture], policy: EvictPolicy = POLICY) -> Any:
    stored, names = named(pictures)
    return audit_table(stored, decide(stored, policy, DAY), names)


def lines(pictures: list[Picture], policy: EvictPolicy = POLICY) -> dict[str, dict[str, Any]]:
    return {row["picture"]: row for row in audit_of(pictures, policy).to_pylist()}


TEXTS = {
    "p000000": "stays: in the window, last seen 2026-11-23",
    "p000001": "stays: marked on 2026-11-23, goes if the next day finds the same; no room for number 2 of product g001 "
    "in the tail of shoes, p000002 stays, last seen 2026-08-15",
    "p000002": "stays: pinned, last seen 2026-08-15",
    "p000003": "stays: no offer of it is alive, but not for long enough to be delisted, last seen 2026-08-15",
    "p000004": "stays: marked on 2026-11-23, goes if the next day finds the same; superseded by p000000, it is number "
    "3 of product g000, last seen 2026-08-15",
    "p000005": "goes: taken down, last seen 2026-08-15",
    "p000006": "goes: delisted, no offer of it has been alive for long enough, last seen 2026-08-15",
    "p000007": "goes: no room for number 2 of product g000 in the tail of shoes, p000000 stays, marked on 2026-11-22, "
    "last seen 2026-08-15",
    "p000008": "goes: superseded by p000002, it is number 3 of product g001, marked on 2026-11-21, "
    "last seen 2026-08-15",
    "p000009": "goes: older than the window, and no index holds an object of it, last seen 2026-08-15",
    "p000010": "stays: 1 of 1 kept of product g003, last seen 2026-08-15",
}


def test_each_stored_picture_has_one_row_with_what_was_decided() -> None:
    found = lines(EVERY_REASON)
    assert len(found) == len(EVERY_REASON)
    assert {row["reason"] for row in found.values()} == {reason.label for reason in Reason}, "each reason is tried"
    assert all(row["keep"] == Reason[row["reason"].upper()].keeps for row in found.values())
    assert found["p000008"] == {
        "picture": "p000008",
        "category": "shoes",
        "reason": "superseded",
        "why": "superseded",
        "keep": False,
        "rank": 3,
        "group": "g001",
        "group_kept": 2,
        "better": "p000002",
        "last_seen": Date(2026, 8, 15),
        "value": -1.0,
        "marked_on": Date(2026, 11, 21),
    }
    unranked = {name: found["p000005"][name] for name in ("rank", "group", "group_kept", "better", "marked_on")}
    assert unranked == {"rank": 0, "group": None, "group_kept": 0, "better": None, "marked_on": None}
    assert found["p000004"]["why"] == "superseded"


def test_each_reason_has_a_line_for_people() -> None:
    assert {name: explain_row(row) for name, row in lines(EVERY_REASON).items()} == TEXTS


def test_a_picture_without_a_product_is_called_its_own() -> None:
    row = {"reason": "representative", "picture": "ab", "rank": 1, "group_kept": 1, "last_seen": "2026-01-01"}
    assert explain_row({**row, "group": "picture:ab"}) == "stays: 1 of 1 kept of its own product, last seen 2026-01-01"
    assert explain_row({**row, "group": "picture:ff"}).startswith("stays: 1 of 1 kept of the look-alikes of ff")
    assert explain_row({**row, "group": "g", "rank": 3, "group_kept": 2}).startswith(
        "stays: one of 2 kept of product g,"
    )
    with pytest.raises(DataError, match="picture ab: no reason 'whim'; expected window, representative"):
        explain_row({**row, "reason": "whim"})


def test_rows_keep_the_order_of_what_is_stored_whatever_it_is() -> None:
    stored, names = named(EVERY_REASON)
    found = audit_table(stored, decide(stored, POLICY, DAY), names)
    assert found["picture"].to_pylist() == names.pictures.to_pylist()
    assert audit_of([]).num_rows == 0


def test_blocks_of_any_size_and_chosen_rows_say_what_a_loop_says() -> None:
    stored, names = named(EVERY_REASON)
    decided = decide(stored, POLICY, DAY)
    expected = naive_facts.audit(stored, decided, names)
    assert audit_table(stored, decided, names).to_pylist() == expected
    for rows in (1, 3, 11):
        blocks = list(audit_blocks(stored, decided, names, rows=rows))
        assert [one.num_rows for one in blocks[:-1]] == [rows] * (len(blocks) - 1)
        assert pa.concat_tables(blocks).to_pylist() == expected, rows
    chosen = np.array([7, 0, 10])
    assert audit_rows(stored, decided, names, chosen).to_pylist() == [expected[row] for row in chosen]


def test_rows_in_another_order_than_their_ids_are_named_by_their_ids() -> None:
    _, names = named(EVERY_REASON)
    shuffled = stored_of([EVERY_REASON[place] for place in (3, 8, 0, 10, 7, 1, 2, 9, 4, 6, 5)])
    decided = decide(shuffled, POLICY, DAY)
    assert audit_table(shuffled, decided, names).to_pylist() == naive_facts.audit(shuffled, decided, names)


def test_a_table_that_is_no_audit_is_refused_with_the_column() -> None:
    table = audit_of(EVERY_REASON)
    with pytest.raises(DataError, match="x: has no column 'rank'"):
        checked_audit(table.drop_columns(["rank"]), "x")
    place = table.column_names.index("rank")
    with pytest.raises(DataError, match="column 'rank' is no int32"):
        checked_audit(table.set_column(place, "rank", pa.array(["first"] * len(EVERY_REASON))))
    with pytest.raises(DataError, match="column 'rank' has 11 nulls"):
        checked_audit(table.set_column(place, "rank", pa.nulls(len(EVERY_REASON), pa.int32())))
    assert checked_audit(table.append_column("more", table["rank"])).schema == audit_schema()
