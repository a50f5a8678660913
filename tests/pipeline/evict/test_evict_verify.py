"""The proof from index and catalogue: a violation of each guarantee is found where it is, and nothing else is."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from pipeline.evict.catalogue import catalogue_of, held_table
from pipeline.evict.policy import EvictPolicy
from pipeline.evict.verify import Violation, verify
from pipeline.evict.verify_rules import HeldObject
from reporting.errors import DataError
from tests.pipeline.evict.live_rows import DAY
from tests.pipeline.evict.stored_rows import Picture
from tests.pipeline.evict.verified import TODAY, Evicted, broken, evicted

OLD = TODAY - 100
POLICY = EvictPolicy(window_days=10, min_per_group=2, max_per_group=3, delist_days=5, tail_budget={"shoes": 9})
PICTURES = [
    Picture(0, TODAY, (0,)),
    Picture(1, OLD, (0,), value=0.5),
    Picture(2, OLD, (0,), value=0.25),
    Picture(3, OLD, (0,), value=0.1, marked_on=TODAY - 1),  # goes: the fourth of group 0
    Picture(4, OLD, (1,)),
    Picture(5, OLD, (1,), taken_down=True),  # goes
    Picture(6, OLD, (2,), gone_since=TODAY - 6),  # goes
    Picture(7, OLD, (2,), gone_since=TODAY - 5),
    Picture(8, OLD, (3,), pinned=True),
    Picture(9, TODAY, (4,), indexed=False),
    Picture(10, OLD, (5,), category="hats"),
    Picture(11, OLD, (5,), category="hats", value=0.1),
    Picture(12, OLD, (5,), category="hats", value=0.2),
    Picture(13, OLD, (5,), category="hats", value=-1),  # marked today
]
CLEAN = evicted(PICTURES, POLICY)


def name(number: int) -> str:
    return f"p{number:06d}"


def changed(column: str, picture: int, value: Any, evicted: Evicted = CLEAN) -> Any:
    """Return the audit with one value of one picture changed."""
    rows = evicted.audit.to_pylist()
    next(row for row in rows if row["picture"] == name(picture))[column] = value
    return pa.Table.from_pylist(rows, schema=evicted.audit.schema)


def only(found: tuple[Violation, ...], guarantee: str) -> Violation:
    (violation,) = (one for one in found if one.guarantee == guarantee)
    return violation


def test_a_day_by_the_rule_breaks_nothing_and_says_so_as_json() -> None:
    assert CLEAN.held == {name(number) for number in (0, 1, 2, 4, 7, 8, 10, 11, 12, 13)}
    found = CLEAN.verified()
    assert found.model_dump() == {**dict.fromkeys(("G1", "G2", "G3", "G4", "G5", "G6"), True), "violations": ()}
    assert found.model_dump_json().endswith('"G6":true,"violations":[]}')


def test_g1_a_group_without_its_last_picture_is_named_with_what_it_lost() -> None:
    found = CLEAN.verified(CLEAN.held - {name(4)})
    assert broken(found) >= {"G1"}
    violation = only(found.violations, "G1")
    assert (violation.what, violation.where) == ("g001", "shoes")
    assert violation.message == f"0 of its 1 live pictures are held, expected at least 1; lost: {name(4)}"


def test_g1_counts_up_to_m_and_no_further() -> None:
    assert "G1" in broken(CLEAN.verified(CLEAN.held - {name(0), name(1)}))
    assert "G1" not in broken(CLEAN.verified(CLEAN.held - {name(1)})), "two are left, three were wanted"


FULL = EvictPolicy(window_days=10, min_per_group=2, tail_budget={"shoes": 3})
TIGHT = [
    Picture(0, OLD, (0,), value=0.9),
    Picture(1, OLD, (0,), value=0.8),
    Picture(2, OLD, (1,), value=0.7),
    Picture(3, OLD, (1,), value=0.6, marked_on=TODAY - 1),
]


def test_g1_a_full_tail_may_take_the_second_of_a_group_and_never_the_last() -> None:
    day = evicted(TIGHT, FULL)
    assert day.decisions.degraded == {"shoes": 1}
    assert day.verified().violations == ()
    pinned = Picture(9, OLD, (2,), pinned=True, indexed=False)  # takes a place in the tail, and no index holds it
    unindexed = evicted([TIGHT[0], *TIGHT[2:], pinned], FULL)
    assert (unindexed.held, unindexed.verified().violations) == ({name(0), name(2)}, ())
    swapped = {name(0), name(1), name(9)}  # the tail has three rows as well, and group 1 none
    tight = evicted([*TIGHT, Picture(9, OLD, (2,))], FULL.model_copy(update={"tail_budget": {"shoes": 3}}))
    assert only(tight.verified(swapped, again=False).violations, "G1").what == "g001"
    roomy = evicted(TIGHT, FULL.model_copy(update={"tail_budget": {"shoes": 4}}))
    assert only(roomy.verified(day.held).violations, "G1").what == "g001", "there was room for its second"


def test_g2_a_lost_picture_of_the_window_is_named() -> None:
    violation = only(CLEAN.verified(CLEAN.held - {name(0)}).violations, "G2")
    assert (violation.what, violation.where) == (name(0), "catalogue, shoes")
    assert violation.message == "last seen 2026-11-23, within the window, and not held"


@pytest.mark.parametrize(
    ("picture", "what", "said"),
    [
        (3, "g000", "3 pictures beyond the window, expected at most 2"),
        (6, name(6), "held, though gone since 2026-11-17; expected at most 5 days longer"),
        (99, name(99), "is held, and the catalogue does not have it"),
    ],
)
def test_g3_what_has_no_place_any_more_is_named_with_its_index(picture: int, what: str, said: str) -> None:
    violation = only(CLEAN.verified({*CLEAN.held, name(picture)}).violations, "G3")
    assert violation.what == what
    assert violation.message == said
    assert violation.where == "index of shoes, 2026-11-22"


def test_g3_a_group_whose_window_takes_all_places_holds_nothing_older() -> None:
    pictures = [*(Picture(place, TODAY, (0,)) for place in range(3)), Picture(3, OLD, (0,), marked_on=TODAY - 1)]
    day = evicted(pictures, POLICY)
    violation = only(day.verified({*day.held, name(3)}).violations, "G3")
    assert violation.what == name(3)
    assert violation.message == "held beyond the window, though no group of it has a place left: g000"


def test_g3_a_tail_above_its_budget_is_named() -> None:
    pictures = [Picture(place, OLD, (place % 2,), value=-place, marked_on=TODAY - 1) for place in range(6)]
    day = evicted(pictures, POLICY.model_copy(update={"tail_budget": {"shoes": 4}}))
    assert broken(day.verified()) == set()
    violation = only(day.verified({name(place) for place in range(6)}).violations, "G3")
    assert (violation.what, violation.where) == ("shoes", "index of shoes")
    assert violation.message == "6 rows beyond the window, expected at most 4"


def test_g3_a_mark_excuses_a_picture_for_one_day_only() -> None:
    """An evictor that marks the same picture anew each day never forgets anything."""
    assert "G3" not in broken(CLEAN.verified())
    pictures = [
        one if one.id != 13 else Picture(13, OLD, (5,), -1, category="hats", marked_on=TODAY - 9) for one in PICTURES
    ]
    day = evicted(pictures, POLICY)
    again = changed("reason", 13, "marked", day)
    assert "G3" in broken(day.verified({*day.held, name(13)}, again))


def test_g4_what_went_before_it_was_marked_is_named() -> None:
    found = CLEAN.verified(CLEAN.held - {name(13)})
    assert only(found.violations, "G4").message == "went without having been marked on an earlier day"
    assert (only(found.violations, "G4").what, only(found.violations, "G4").where) == (name(13), "hats, groups g005")


def test_g4_what_went_with_room_in_its_own_group_and_category_is_named() -> None:
    """Whatever came into other groups: the third place of group 0 was free for it."""
    day = evicted([*PICTURES[:2], Picture(2, OLD, (0,), marked_on=TODAY - 1)], POLICY)
    found = day.verified(day.held - {name(2)})
    violation = only(found.violations, "G4")
    assert violation.what == name(2)
    assert violation.message == "went, though its groups hold fewer than 3 and its category's tail is not full"


@pytest.mark.parametrize(("picture", "said"), [(8, "is pinned and not held"), (7, "went within 5 days of being gone")])
def test_g4_what_was_to_stay_and_went_is_named(picture: int, said: str) -> None:
    violation = only(CLEAN.verified(CLEAN.held - {name(picture)}).violations, "G4")
    assert (violation.what, violation.message) == (name(picture), said)


def test_g4_what_would_go_on_a_second_look_is_named() -> None:
    """A picture of two groups that is best in neither: only the ranking itself finds it."""
    policy = EvictPolicy(window_days=10, min_per_group=1, delist_days=5)
    pictures = [
        Picture(0, OLD, (0,), value=0.9),
        Picture(1, OLD, (1,), value=0.9),
        Picture(2, OLD, (0, 1), value=0.1, marked_on=TODAY - 1),
    ]
    day = evicted(pictures, policy)
    assert broken(day.verified()) == set()
    held = {name(0), name(2)}  # as many as there are places
    assert "G3" not in broken(day.verified(held, again=False))
    assert [one.what for one in day.verified({*day.held, name(2)}).violations if "run again" in one.message] == [
        name(2)
    ]


def test_g5_a_picture_that_is_taken_down_is_found_wherever_it_is() -> None:
    violation = only(CLEAN.verified({*CLEAN.held, name(5)}).violations, "G5")
    assert (violation.what, violation.where) == (name(5), "index of shoes, 2026-11-22")
    pinned = evicted([Picture(0, TODAY, pinned=True, taken_down=True)], POLICY)
    assert broken(pinned.verified({name(0)})) >= {"G5"}
    forgotten = CLEAN.verified({*CLEAN.held, name(77)}, taken_down=[name(77)])
    assert only(forgotten.violations, "G5").what == name(77)
    assert forgotten.G3, "it is not unknown, it is taken down"
    fresh = CLEAN.verified(taken_down=[name(0)])
    assert only(fresh.violations, "G5").what == name(0), "the catalogue may not know it yet"


@pytest.mark.parametrize(
    ("column", "picture", "value", "said"),
    [
        ("reason", 4, "window", "reason is 'window', expected one of representative, marked, superseded, over_budget"),
        ("reason", 0, "representative", "reason is 'representative', expected 'window'"),
        ("reason", 8, "whim", "reason is 'whim', expected 'pinned'"),
        ("keep", 0, False, "keep is False, which its reason 'window' does not say"),
        ("why", 4, "pinned", "why is 'pinned', which its reason 'representative' does not say"),
        ("rank", 4, 4, "rank 4 is none for 'representative' (cap 3)"),
        ("rank", 3, 2, "rank 2 is none for 'superseded' (cap 3)"),
        ("better", 3, name(5), f"better is {name(5)}, which is not held"),
        ("better", 3, None, "better is None, which is not held"),
        (
            "marked_on",
            4,
            DAY,
            "marked_on is 2026-11-23 and reason 'representative', the catalogue has it marked on never",
        ),
        ("marked_on", 3, None, "marked_on is never and reason 'superseded', the catalogue has it marked on 2026-11-22"),
        ("picture", 4, "elsewhere", "has 0 rows of audit, expected 1"),
        ("picture", 4, name(0), "has 2 rows of audit, expected 1"),
    ],
)
def test_g6_a_row_that_the_rule_does_not_give_is_named(column: str, picture: int, value: Any, said: str) -> None:
    found = CLEAN.verified(audit=changed(column, picture, value))
    assert broken(found) == {"G6"}
    assert said in [one.message for one in found.violations]
    places = {one.where for one in found.violations}
    assert all(place.startswith("eviction.parquet") for place in places)


def test_g6_a_decision_that_did_not_come_true_is_named() -> None:
    found = CLEAN.verified(CLEAN.held - {name(1)})
    violation = only(found.violations, "G6")
    assert (violation.what, violation.where) == (name(1), "eviction.parquet, row 1")
    assert violation.message == "keep is True, and the index does not hold it"


def test_an_audit_that_says_all_is_well_convinces_nobody() -> None:
    """G1 to G5 are the same whatever the audit says of what went."""
    held = CLEAN.held - {name(4), name(0)}
    rows = CLEAN.audit.to_pylist()
    for row in rows:
        if row["picture"] in (name(4), name(0)):
            row.update(reason="takedown", why="takedown", keep=False, rank=0)
    lying = CLEAN.verified(held, pa.Table.from_pylist(rows, schema=CLEAN.audit.schema))
    assert [one for one in lying.violations if one.guarantee != "G6"] == [
        one for one in CLEAN.verified(held).violations if one.guarantee != "G6"
    ]
    assert broken(lying) == {"G1", "G2", "G6", "G4"}


def test_of_many_violations_the_first_are_listed_and_the_others_counted() -> None:
    day = evicted([Picture(place, TODAY, (place,)) for place in range(30)], POLICY)
    found = day.verified(set(), limit=4)
    fresh = [one for one in found.violations if one.guarantee == "G2"]
    assert len(fresh) == 5
    assert fresh[-1] == Violation(guarantee="G2", what="", where="", message="and 26 more, not listed")


def test_what_came_into_an_index_after_the_decisions_pushes_nothing_out() -> None:
    """Today's arrival was in no index when the last one of its group was found to be needed."""
    policy = EvictPolicy(window_days=10, min_per_group=1)
    day = evicted([Picture(0, OLD, (0,), marked_on=TODAY - 1), Picture(1, TODAY, (0,), indexed=False)], policy)
    assert day.verified({name(0), name(1)}).violations == ()
    assert broken(day.verified({name(1)})) == {"G1", "G6"}


def test_the_index_may_come_as_a_table_of_objects() -> None:
    rows = held_table(CLEAN.held_rows(CLEAN.held))
    twice = pa.concat_tables([rows, rows]).append_column("more", pc.add(pa.array(range(2 * rows.num_rows)), 1))
    assert verify(twice, catalogue_of(CLEAN.stored, CLEAN.names), POLICY, DAY, CLEAN.audit).holds


def test_a_catalogue_that_contradicts_itself_is_refused() -> None:
    catalogue = catalogue_of(CLEAN.stored, CLEAN.names)
    held = CLEAN.held_rows(CLEAN.held)
    twice = pa.concat_tables([catalogue, catalogue.slice(0, 1).set_column(7, "pinned", pa.array([True]))])
    with pytest.raises(DataError, match=f"picture {name(0)} say different things of its pinned"):
        verify(held, twice, POLICY, DAY, CLEAN.audit)
    with pytest.raises(DataError, match="no column 'pinned'"):
        verify(held, catalogue.drop_columns(["pinned"]), POLICY, DAY, CLEAN.audit)
    nameless = catalogue.set_column(1, "group", pa.nulls(catalogue.num_rows, pa.large_string()))
    with pytest.raises(DataError, match="14 rows have no group"):
        verify(held, nameless, POLICY, DAY, CLEAN.audit)
    with pytest.raises(DataError, match="held rows: no column 'category'"):
        verify(pa.table({"picture": ["a"]}), catalogue, POLICY, DAY, CLEAN.audit)


def test_g5_an_object_that_is_taken_down_by_its_id_is_named_with_what_to_do() -> None:
    found = CLEAN.verified(objects=[HeldObject(4711, name(0), "shoes")])
    assert broken(found) == {"G5"}
    violation = only(found.violations, "G5")
    assert (violation.what, violation.where) == ("4711", f"index of shoes, picture {name(0)}")
    assert "`funnelgate evict apply --reason TEXT --yes`" in violation.message
