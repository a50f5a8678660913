"""The rank stage against a naive one, and what it promises about takedowns, products and offers."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.release.withheld import WithheldList
from pipeline.serve.generation import Neighbour
from pipeline.serve.ranking import Ranked, RankSettings, rank, search_ranked
from pipeline.serve.rerankers import RERANKERS, require_rerankers
from reporting.errors import ConfigError, DataError

NOTHING = WithheldList()
NEWER = "newer-among-near-ties"


def offer(number: int, group: str) -> dict[str, Any]:
    return {"merchant": f"m{number % 3}", "sku": f"s{number}", "title": f"offer {number}", "group": group}


class Shop:
    """Items by id with their rows, nearest first as they are added."""

    def __init__(self) -> None:
        self.neighbours: list[Neighbour] = []
        self.rows: dict[int, dict[str, Any]] = {}
        self.asked: list[int] = []

    def add(self, group: str, offers: Sequence[dict[str, Any]], distance: float | None = None, **more: Any) -> int:
        number = len(self.rows) + 1
        self.rows[number] = {"picture": f"p{number}", "title": f"item {number}", "offers": list(offers), **more}
        where = distance if distance is not None else number / 100
        self.neighbours.append(Neighbour(number, group, where, "shoes"))
        return number

    def rows_of(self, hits: Sequence[Neighbour]) -> list[Mapping[str, Any]]:
        self.asked += [one.id for one in hits]
        return [self.rows[one.id] for one in hits]

    def rank(self, k: int = 10, withheld: WithheldList = NOTHING, **settings: Any) -> list[Ranked]:
        return rank(self.neighbours, RankSettings(**settings), k, withheld=withheld, rows_of=self.rows_of)


def shown(ranked: Sequence[Ranked]) -> list[tuple[int, str, list[str]]]:
    return [(one.hit.id, one.group, [offer["sku"] for offer in one.offers]) for one in ranked]


def naive(shop: Shop, withheld: WithheldList, group: bool, k: int) -> list[tuple[int, str, list[str]]]:
    """Walk the neighbours one by one, with loops and nothing else."""
    results: list[tuple[int, str, list[str]]] = []
    for hit in shop.neighbours:
        row = shop.rows[hit.id]
        if hit.id in withheld.items or row["picture"] in withheld.pictures:
            continue
        kept = [one for one in row["offers"] if one["group"] not in withheld.groups]
        left = [one for one in kept if (one["merchant"], one["sku"]) not in withheld.offers]
        if not left:
            continue
        name = hit.group if hit.group in [one["group"] for one in left] else left[0]["group"]
        skus = [one["sku"] for one in left]
        for at, (_, known, offers) in enumerate(results):
            if group and name and known == name:
                results[at][2].extend(sku for sku in skus if sku not in offers)
                break
        else:
            results.append((hit.id, name, skus))
    return results[:k]


@st.composite
def shops(draw: st.DrawFn) -> tuple[Shop, WithheldList]:
    shop = Shop()
    names = st.sampled_from(["", "a", "b", "c"])
    for _ in range(draw(st.integers(0, 12))):
        groups = draw(st.lists(names, min_size=1, max_size=3))
        numbers = draw(st.lists(st.integers(0, 6), min_size=len(groups), max_size=len(groups), unique=True))
        shop.add(groups[0], [offer(number, group) for number, group in zip(numbers, groups, strict=True)])
    ids = st.integers(1, 12)
    return shop, WithheldList(
        items=draw(st.frozensets(ids, max_size=3)),
        pictures=frozenset(f"p{number}" for number in draw(st.frozensets(ids, max_size=3))),
        groups=draw(st.frozensets(st.sampled_from("abc"), max_size=2)),
        offers=frozenset((f"m{n % 3}", f"s{n}") for n in draw(st.frozensets(st.integers(0, 6), max_size=4))),
    )


@settings(max_examples=40)
@given(shops(), st.booleans(), st.integers(1, 13))
def test_ranking_is_what_a_naive_walk_over_the_neighbours_gives(case, group, k):
    shop, withheld = case
    assert shown(shop.rank(k, withheld, group=group)) == naive(shop, withheld, group, k)
    assert shown(shop.rank(k, NOTHING, group=group)) == naive(shop, NOTHING, group, k)


@settings(max_examples=40)
@given(shops(), st.integers(1, 13))
def test_nothing_that_is_withheld_is_ever_shown(case, k):
    shop, withheld = case
    for one in shop.rank(k, withheld):
        assert not {hit.id for hit in one.items} & withheld.items
        assert not {shop.rows[hit.id]["picture"] for hit in one.items} & withheld.pictures
        assert not {(offer["merchant"], offer["sku"]) for offer in one.offers} & withheld.offers
        assert one.offers
        assert one.group not in withheld.groups


def test_items_of_one_product_are_one_result_with_the_offers_of_all_of_them():
    shop = Shop()
    shop.add("shoe", [offer(1, "shoe")])
    shop.add("boot", [offer(2, "boot")])
    shop.add("shoe", [offer(3, "shoe"), offer(1, "shoe")])
    assert shown(shop.rank()) == [(1, "shoe", ["s1", "s3"]), (2, "boot", ["s2"])]
    assert [hit.id for hit in shop.rank()[0].items] == [1, 3]
    assert [one.hit.id for one in shop.rank(group=False)] == [1, 2, 3]


def test_items_of_unknown_product_stay_apart():
    shop = Shop()
    shop.add("", [offer(1, "")])
    shop.add("", [offer(2, "")])
    assert [one.hit.id for one in shop.rank()] == [1, 2]


def test_an_item_without_the_offer_that_named_it_goes_by_the_next_one():
    shop = Shop()
    shop.add("shoe", [offer(1, "shoe"), offer(2, "boot")])
    (one,) = shop.rank(withheld=WithheldList(offers=frozenset({("m1", "s1")})))
    assert (one.group, one.title, [left["sku"] for left in one.offers]) == ("boot", "offer 2", ["s2"])


def test_the_title_of_a_withheld_offer_goes_though_another_of_its_product_stays():
    shop = Shop()
    first, second = offer(1, "shoe"), offer(2, "shoe")
    shop.add("shoe", [first, offer(3, "boot"), second])
    shop.rows[1]["title"] = first["title"]
    (one,) = shop.rank(withheld=WithheldList(offers=frozenset({("m1", "s1")})))
    assert (one.group, one.title) == ("shoe", second["title"])
    (one,) = shop.rank(withheld=WithheldList(offers=frozenset({("m2", "s2")})))
    assert (one.group, one.title) == ("shoe", first["title"])


def test_an_item_table_of_before_offers_named_their_product_is_filtered_by_the_items():
    shop = Shop()
    shop.add("shoe", [{"merchant": "m", "sku": "1", "title": "t"}])
    assert shop.rank()[0].group == "shoe"
    assert shop.rank(withheld=WithheldList(groups=frozenset({"shoe"}))) == []


def test_rows_are_read_of_the_first_products_only_as_long_as_nothing_is_withheld():
    shop = Shop()
    for number in range(9):
        shop.add(f"g{number // 3}", [offer(number, f"g{number // 3}")])
    shop.rank(k=1)
    assert shop.asked == [1, 2, 3]


def test_more_neighbours_are_fetched_where_one_product_fills_the_first():
    shop = Shop()
    for number in range(30):
        shop.add("flood", [offer(number, "flood")])
    shop.add("other", [offer(31, "other")])
    fetched = []

    def fetch(count: int) -> list[Neighbour]:
        fetched.append(count)
        return shop.neighbours[:count]

    found = search_ranked(fetch, RankSettings(overfetch=4), 2, withheld=NOTHING, rows_of=shop.rows_of)
    assert [one.group for one in found] == ["flood", "other"]
    assert fetched == [8, 32]


def test_fetching_ends_with_the_neighbours_or_after_three_rounds():
    shop = Shop()
    for number in range(200):
        shop.add("flood", [offer(number, "flood")])
    fetched: list[int] = []

    def fetch(count: int) -> list[Neighbour]:
        fetched.append(count)
        return shop.neighbours[:count]

    assert len(search_ranked(fetch, RankSettings(overfetch=2), 2, withheld=NOTHING, rows_of=shop.rows_of)) == 1
    assert fetched == [4, 16, 64]
    fetched.clear()
    search_ranked(fetch, RankSettings(overfetch=64), 4, withheld=NOTHING, rows_of=shop.rows_of)
    assert fetched == [256]


def test_newer_items_come_first_among_near_ties_only():
    shop = Shop()
    days = [dt.date(2026, 11, day) for day in (1, 9, 5)]
    shop.add("a", [offer(1, "a")], 0.100, last_seen=days[0])
    shop.add("b", [offer(2, "b")], 0.104, last_seen=days[1])
    shop.add("c", [offer(3, "c")], 0.106, last_seen=days[2])
    shop.add("d", [offer(4, "d")], 0.107)
    assert [one.hit.id for one in shop.rank()] == [1, 2, 3, 4]
    assert [one.hit.id for one in shop.rank(rerankers=(NEWER,))] == [2, 1, 3, 4]


def test_no_reranker_is_on_by_default():
    assert RankSettings().rerankers == ()


def test_an_unknown_reranker_is_refused_with_the_nearest_name():
    with pytest.raises(ConfigError, match="newer-among-near-ties"):
        require_rerankers(("newer-among-ties",))
    shop = Shop()
    shop.add("a", [offer(1, "a")])
    with pytest.raises(ConfigError, match="unknown re-ranker"):
        shop.rank(rerankers=("cheaper",))


@pytest.mark.parametrize("spoilt", [lambda shown: shown[:-1], lambda shown: [*shown, shown[0]]])
def test_a_reranker_that_loses_or_doubles_an_item_is_an_error(monkeypatch, spoilt):
    monkeypatch.setitem(RERANKERS, "spoilt", spoilt)
    shop = Shop()
    shop.add("a", [offer(1, "a")])
    shop.add("b", [offer(2, "b")])
    with pytest.raises(DataError, match="spoilt"):
        shop.rank(rerankers=("spoilt",))


@settings(max_examples=40)
@given(shops())
def test_a_reranker_changes_the_order_and_nothing_else(case):
    shop, withheld = case
    plain, newer = (shop.rank(13, withheld, group=False, rerankers=one) for one in ((), (NEWER,)))
    assert sorted(one.hit.id for one in plain) == sorted(one.hit.id for one in newer)
