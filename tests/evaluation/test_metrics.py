"""Invariants of ranking and metrics, against naive loops."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluation.catalog import Catalog, CatalogImage, catalog_of
from evaluation.metrics import (
    answer_rate,
    capped_recall_at_k,
    first_relevant_rank,
    hit_at_k,
    hit_bounds_at_k,
    recall_at_k,
    short_list_rate,
)
from evaluation.ranking import Ranking, as_arrays, rank
from evaluation.searcher import Hit
from reporting.errors import DataError

# Few distances and few ids: ties, duplicates, padding and groups of several pictures in most examples.
HITS = st.lists(
    st.tuples(st.integers(-1, 12), st.sampled_from([0.0, 0.1, 0.25, 0.5])).map(
        lambda pair: Hit(pair[0], f"g{pair[0] % 5}", pair[1])
    ),
    max_size=14,
)
CATALOG = catalog_of(
    [CatalogImage(f"g{number % 5}", f"h{number}", number) for number in range(11)]
    + [CatalogImage("g0", "never indexed")]
)
K = st.integers(1, 8)


def values(ranking: Ranking, k: int, catalog: Catalog = CATALOG) -> dict[str, float]:
    arrays = as_arrays([ranking], [catalog.findable_count("g0", without_sha256="h5")])
    bounds = hit_bounds_at_k(arrays.groups_relevant, arrays.group_distances, k)
    columns = {
        "hit": hit_at_k(arrays.groups_relevant, k),
        "worst": bounds.worst,
        "best": bounds.best,
        "expected": bounds.expected,
        "recall": recall_at_k(arrays.images_relevant, arrays.findable, k),
        "capped": capped_recall_at_k(arrays.images_relevant, arrays.findable, k),
    }
    return {name: float(column[0]) for name, column in columns.items()}


def ranked(hits: list[Hit]) -> Ranking:
    return rank(hits, group="g0", catalog=CATALOG, self_sha256="h5")


def naive(hits: list[Hit], k: int) -> tuple[float, float]:
    """Compute hit@k and recall@k of g0 by the order of operations, step by step."""
    rows = sorted({(hit.distance, hit.id, hit.group) for hit in hits if hit.id not in (-1, 5)})
    ids: list[int] = []
    for _, number, _ in rows:
        if number not in ids:
            ids.append(number)
    groups: list[int] = []
    for number in ids:
        if number % 5 not in groups:
            groups.append(number % 5)
    hit = any(group == 0 and any(n % 5 == 0 and n < 11 for n in ids) for group in groups[:k])
    return float(hit), sum(number in (0, 10) for number in ids[:k]) / 3


@settings(max_examples=300)
@given(HITS, K)
def test_hit_and_recall_equal_a_naive_loop(hits, k):
    found = values(ranked(hits), k)
    assert (found["hit"], found["recall"]) == pytest.approx(naive(hits, k))


@given(HITS, K, st.randoms(use_true_random=False))
def test_the_order_in_which_hits_come_is_irrelevant(hits, k, random):
    shuffled = random.sample(hits, len(hits))
    assert ranked(shuffled) == ranked(hits)
    assert values(ranked(shuffled), k) == values(ranked(hits), k)


@given(HITS, K)
def test_all_metrics_but_capped_recall_are_monotone_in_k_and_all_lie_in_range(hits, k):
    now, more = values(ranked(hits), k), values(ranked(hits), k + 1)
    assert all(0 <= value <= 1 for value in now.values())
    for name in ("hit", "worst", "best", "recall"):
        assert now[name] <= more[name]
    assert now["expected"] <= more["expected"] + 1e-12
    assert now["recall"] <= now["capped"]


@given(HITS, K, st.data())
def test_duplicates_never_change_a_metric_and_are_counted(hits, k, data):
    copies = data.draw(st.lists(st.sampled_from(hits), max_size=5)) if hits else []
    farther = [Hit(hit.id, hit.group, hit.distance + 0.05) for hit in copies]
    assert values(ranked(hits + farther), k) == values(ranked(hits), k)
    assert ranked(hits + copies).duplicates == ranked(hits).duplicates + sum(c.id not in (-1, 5) for c in copies)


@given(HITS, K)
def test_removing_a_relevant_image_from_the_answer_never_raises_a_metric(hits, k):
    before = values(ranked(hits), k)
    for number in (0, 10):
        after = values(ranked([hit for hit in hits if hit.id != number]), k)
        assert all(after[name] <= before[name] + 1e-12 for name in before)


@given(HITS, K, st.permutations(range(13)))
def test_worst_best_and_expected_do_not_depend_on_who_gets_which_id(hits, k, order):
    """Ids decide the canonical order of ties only; renaming them must leave the bounds alone."""
    renamed = [hit if hit.id < 0 else Hit(order[hit.id], hit.group, hit.distance) for hit in hits]
    catalog = catalog_of(
        [CatalogImage(f"g{number % 5}", f"h{number}", order[number]) for number in range(11)]
        + [CatalogImage("g0", "never indexed")]
    )
    other = values(rank(renamed, group="g0", catalog=catalog, self_sha256="h5"), k, catalog)
    here = values(ranked(hits), k)
    for name in ("worst", "best", "expected"):
        assert other[name] == pytest.approx(here[name], abs=1e-12)


@given(
    st.lists(st.tuples(st.sampled_from([0.1, 0.2, 0.3]), st.booleans()), min_size=1, max_size=6),
    st.integers(1, 7),
)
def test_bounds_equal_the_extremes_and_the_mean_over_all_orders_of_ties(entries, k):
    entries = sorted(entries, key=lambda entry: entry[0])
    distances = np.array([[distance for distance, _ in entries]])
    relevant = np.array([[flag for _, flag in entries]])
    every = [
        float(any(flag for _, flag in order[:k]))
        for order in itertools.permutations(entries)
        if [distance for distance, _ in order] == sorted(distance for distance, _ in order)
    ]
    bounds = hit_bounds_at_k(relevant, distances, k)
    assert bounds.worst[0] == min(every)
    assert bounds.best[0] == max(every)
    assert bounds.expected[0] == pytest.approx(sum(every) / len(every))
    assert bounds.is_tied[0] == (k < len(entries) and entries[k - 1][0] == entries[k][0])


def test_a_tie_is_one_millionth_relative():
    relevant = np.array([[False, True]])
    for gap, tied in ((0.5e-6, True), (2e-6, False)):
        bounds = hit_bounds_at_k(relevant, np.array([[0.3, 0.3 * (1 + gap)]]), 1)
        assert bounds.is_tied.tolist() == [tied]
        assert bounds.best.tolist() == [float(tied)]


def test_a_lost_product_is_a_miss_and_not_a_vanished_query():
    """The catalogue has three pictures of g0 besides the query's own; the index lost them one by one."""
    found = [Hit(0, "g0", 0.1), Hit(10, "g0", 0.2), Hit(1, "g1", 0.3)]
    recalls = [values(ranked(found[lost:]), 5)["recall"] for lost in range(4)]
    assert recalls == pytest.approx([2 / 3, 1 / 3, 0, 0])
    assert values(ranked(found[2:]), 5)["hit"] == 0


def test_the_self_match_is_dropped_by_picture_and_not_by_rank():
    hits = [Hit(1, "g1", 0.0), Hit(5, "g0", 0.1), Hit(0, "g0", 0.2)]
    ranking = ranked(hits)
    assert (ranking.ids, ranking.self_matches) == ((1, 0), 1)
    assert rank(hits, group="g0", catalog=CATALOG).ids == (1, 5, 0)


def test_groups_collapse_to_the_place_of_their_nearest_picture():
    ranking = ranked([Hit(6, "g1", 0.2), Hit(1, "g1", 0.1), Hit(2, "g2", 0.15), Hit(10, "g0", 0.3)])
    assert [(entry.group, entry.distance) for entry in ranking.groups] == [
        ("g1", 0.1),
        ("g2", 0.15),
        ("g0", 0.3),
    ]
    assert first_relevant_rank(as_arrays([ranking], [3]).groups_relevant).tolist() == [3]


def test_relevance_is_the_catalogues_word_and_not_the_systems():
    liar = ranked([Hit(1, "g0", 0.1), Hit(12, "g0", 0.2)])
    assert liar.are_relevant == (False, False)
    assert not liar.groups[0].is_relevant
    assert liar.orphans == 1
    for far, near in ((1, 0), (0, 1)):  # one shown group of a wrong and a right picture, in either order
        mixed = ranked([Hit(near, "g0", 0.1), Hit(far, "g0", 0.2)])
        assert [(entry.distance, entry.is_relevant) for entry in mixed.groups] == [(0.1, True)]


def test_one_stored_picture_of_two_products_is_relevant_for_both():
    catalog = catalog_of([CatalogImage("a", "x", 1), CatalogImage("b", "x", 1), CatalogImage("b", "y", 2)])
    for group, findable in (("a", 1), ("b", 2)):
        assert rank([Hit(1, "a", 0.1)], group=group, catalog=catalog).are_relevant == (True,)
        assert catalog.findable_count(group) == findable
    assert catalog.findable_count("b", without_sha256="x") == 1


def test_rates_count_every_query():
    assert answer_rate(np.array([True, False, True, True])) == 0.75
    assert short_list_rate(np.array([0, 4, 5, 9]), 5) == 0.5
    assert answer_rate(np.zeros(0, np.bool_)) == short_list_rate(np.zeros(0, np.int64), 5) == 0.0


def test_a_query_with_nothing_findable_scores_zero():
    assert recall_at_k(np.array([[False]]), np.array([0]), 3).tolist() == [0.0]
    assert capped_recall_at_k(np.array([[True, True]]), np.array([9]), 2).tolist() == [1.0]


def test_labels_that_disagree_with_the_catalogue_never_give_a_recall_above_one():
    with pytest.raises(ValueError, match="2 relevant pictures retrieved of 1 findable"):
        recall_at_k(np.array([[True, True]]), np.array([1]), 1)


def test_a_distance_that_is_no_number_is_refused_unless_it_is_padding():
    assert ranked([Hit(-1, "", float("nan"))]).invalid == 1
    with pytest.raises(DataError, match="hit 3 has distance NaN"):
        ranked([Hit(3, "g3", float("nan"))])


@pytest.mark.parametrize(
    ("image", "message"),
    [(CatalogImage("", "s", 1), "has no product group"), (CatalogImage("g", "s", -1), "id -1 of group g")],
)
def test_a_broken_catalogue_is_refused(image, message):
    with pytest.raises(DataError, match=message):
        catalog_of([image])
