"""`object`: what an id stands for, whether it is released, was dropped since, or never was."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqlalchemy import select

from reporting import tables as t
from tests.pipeline.arrivals import DELISTED, OFFERS
from tests.pipeline.conftest import Ended
from tests.pipeline.project import DAY_1, DAY_2, Project, new_project, row, run_here, store_of

Main = Callable[..., Ended]


def id_of(project: Project, picture: str) -> int:
    """Look an id up in the table, by the bytes of the picture."""
    sha256 = hashlib.sha256((project.folder / "pictures" / picture).read_bytes()).hexdigest()
    with store_of(project) as store, store.read() as connection:
        (found,) = connection.execute(select(t.item_id.c.id).where(t.item_id.c.picture == sha256)).scalars()
    return int(found)


def described(main_in: Main, project: Project, *ids: int) -> list[dict[str, Any]]:
    ended = main_in(project.folder, "object", *map(str, ids), "--json")
    assert ended.code == 0, ended.err
    found = json.loads(ended.out)
    assert isinstance(found, list)
    return found


def test_a_released_object_comes_with_its_offers_of_all_days(three_days: Project, main_in: Main) -> None:
    number = id_of(three_days, "1.png")
    (found,) = described(main_in, three_days, number)
    assert {(offer["merchant"], offer["sku"]) for offer in found["offers"]} == OFFERS["1.png"]
    assert (found["id"], found["day"], found["category"]) == (number, str(DAY_1), "green")
    assert found["why"]["reason"] == "the merchant says green"
    assert (found["in_release"], found["release"]) == (True, 3)
    assert (found["box"], found["ordinal"], found["score"]) == ([0, 0, 96, 96], 0, 1.0)
    assert found["detector"] == "whole-1"
    sha256 = hashlib.sha256((three_days.folder / "pictures/1.png").read_bytes()).hexdigest()
    assert found["picture"] == sha256


def test_what_left_the_release_is_still_known_by_the_day_it_came(three_days: Project, main_in: Main) -> None:
    ids = [id_of(three_days, picture) for picture in DELISTED]
    found = described(main_in, three_days, *ids)
    assert [one["id"] for one in found] == ids
    assert [one["day"] for one in found] == [str(DAY_1), str(DAY_2)]
    assert [one["category"] for one in found] == ["green", "other"]
    assert {one["in_release"] for one in found} == {False}
    assert [[(offer["merchant"], offer["sku"]) for offer in one["offers"]] for one in found] == [
        [offer] for offer in DELISTED.values()
    ]
    text = main_in(three_days.folder, "object", str(ids[0])).out
    assert f"object {ids[0]}: box 0,0,96,96 of picture" in text
    assert f"of {DAY_1}, category green; not in release 3" in text
    assert "why: the merchant says green" in text
    assert "acme/s7" in text


def test_an_object_that_was_dropped_before_it_had_a_category_is_told_by_detect(tmp_path: Path, main_in: Main) -> None:
    project = new_project(tmp_path / "project")
    project.configure(crop={"min_side": 97})
    project.manifest(DAY_1, [row(project.drawn(1), "s1")])
    run_here(project, DAY_1)
    (found,) = described(main_in, project, id_of(project, "1.png"))
    assert (found["day"], found["category"], found["why"]) == (str(DAY_1), None, None)
    assert (found["in_release"], found["release"]) == (False, None)
    assert [offer["sku"] for offer in found["offers"]] == ["s1"]
    text = main_in(project.folder, "object", str(found["id"])).out
    assert f"of {DAY_1}, dropped before it had a category; nothing has been released yet" in text


def test_an_id_that_was_never_given_ends_with_2(three_days: Project, main_in: Main) -> None:
    ended = main_in(three_days.folder, "object", "1", "9999", "--json")
    assert (ended.code, ended.out) == (2, "")
    assert "there is no object 9999; `funnelgate search PICTURE --json` prints" in ended.err
    for wrong in ("0", "-4", "x", str(2**63)):
        assert main_in(three_days.folder, "object", "--json", "--", wrong).code == 2
