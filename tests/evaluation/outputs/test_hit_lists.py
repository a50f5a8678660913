"""The lists that people see are the ones that the metrics count, each product with its nearest picture."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluation.answers import Hit
from evaluation.outputs.hit_lists import Catalogue, first_relevant, nearest_places, shown_groups, shown_pictures
from evaluation.system import View
from tests.evaluation.report_world import NOISE, hits, small_set, system

SET = small_set()
CATALOGUE = Catalogue(SET)
NAMES = [*(image.image_id for image in SET.catalog), "stranger-1", "stranger-2"]
GROUP_OF = {image.image_id: image.group_id for image in SET.catalog}

lists = st.lists(
    st.tuples(st.sampled_from(NAMES), st.sampled_from([0.1, 0.2, 0.2, 0.3])), max_size=12, unique_by=lambda one: one[0]
)


@settings(max_examples=60)
@given(lists)
def test_each_group_is_shown_by_a_picture_of_its_own_at_its_distance(found):
    measured = system(SET, {View.SERVED: {0: [Hit(*one) for one in found]}})
    ranked = measured.views[View.SERVED]
    places = nearest_places(ranked, 5, CATALOGUE)
    shown = shown_groups(ranked, 0, places[0], "q0", CATALOGUE)
    # The oracle: sort, and take the first picture of each group.
    expected: dict[str, float] = {}
    for name, distance in sorted(found, key=lambda one: one[1]):
        expected.setdefault(GROUP_OF.get(name, name), distance)
    assert [hit.distance for hit in shown] == list(expected.values())[:5]
    for hit in shown:
        assert GROUP_OF.get(hit.image_id, hit.image_id) == hit.group_id
        assert dict(found)[hit.image_id] == hit.distance == expected[hit.group_id]
        assert (hit.grade > 0) == (hit.group_id == "g0")
    assert len({hit.image_id for hit in shown}) == len(shown)


def test_what_is_no_product_says_what_it_is():
    measured = system(SET, {View.SERVED: {0: hits("noise-0", "nobody", "g3-0", "g0-0")}})
    shown = shown_pictures(measured.views[View.SERVED], 0, 10, "q0", CATALOGUE)
    assert [(hit.kind, hit.grade, hit.category) for hit in shown] == [
        ("noise", 0, "c9"),
        ("orphan", 0, ""),
        ("product", 0, "c1"),
        ("product", 2, "c0"),
    ]


def test_the_first_relevant_product_beyond_a_list_keeps_its_rank():
    ranked = system(SET, {View.SERVED: {0: hits(*NOISE, "g3-0", "g0-1")}}).views[View.SERVED]
    found = first_relevant(ranked, 0, 3, "q0", CATALOGUE)
    assert found is not None
    assert (found.rank, found.image_id, found.grade) == (7, "g0-1", 2)
    assert first_relevant(ranked, 0, 7, "q0", CATALOGUE) is None


def test_places_are_found_alike_for_all_queries_at_once_and_one_by_one():
    chance = np.random.default_rng(1)
    found = {row: hits(*chance.choice(NAMES, 9, replace=False)) for row in range(8)}
    ranked = system(SET, {View.SERVED: found}).views[View.SERVED]
    places = nearest_places(ranked, 4, CATALOGUE)
    for row in range(8):
        for rank, place in enumerate(places[row]):
            assert place < 0 or ranked.image_distances[row, place] == ranked.group_distances[row, rank]
