"""Each fault of a set is found, by name, and a sound set has none."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from evaluation.catalog import CatalogImage
from evaluation.evalset import Gallery, Label
from evaluation.validators import Severity, require_valid, validate
from reporting.errors import DataError
from tests.evaluation.small_set import digest, image, query, small_set

SOUND = small_set()
ERROR, WARNING = Severity.ERROR, Severity.WARNING
ALWAYS = {"underpowered"}
"""Two queries prove little: this warning is right in every small set."""


def gallery(**fields: Any) -> Gallery:
    return Gallery(**{"query_domain": "a", "gallery_domain": "b"} | fields)


def found(**parts: Any) -> dict[str, tuple[Severity, tuple[str, ...]]]:
    faults = validate(small_set(**parts))
    return {fault.code: (fault.severity, fault.examples) for fault in faults if fault.code not in ALWAYS}


def with_image(**fields: Any) -> tuple[CatalogImage, ...]:
    return (*SOUND.catalog, image("i9", "g9", **fields))


def with_label(query_id: str, group_id: str, grade: int = 2) -> tuple[Label, ...]:
    return (*SOUND.labels, Label(query_id=query_id, group_id=group_id, grade=grade))


def test_a_sound_set_has_no_fault_but_that_it_proves_little():
    (fault,) = validate(SOUND)
    assert (fault.code, fault.severity, fault.count) == ("underpowered", WARNING, 4)
    assert fault.examples == ("all (2)", "category=hats (1)", "category=shoes (1)", "freq=tail (2)")
    assert [one.code for one in require_valid(SOUND)] == ["underpowered"]


LEAKED = with_image(sha256=digest("query q1"))
BARE = tuple(one for one in SOUND.catalog if one.role.value == "product")
NO_NOISE = tuple(one for one in SOUND.catalog if one.role.value != "noise")
TAKEN_DOWN = (image("i1", "g1", takedown_day=date(2026, 1, 2)), *(one for one in SOUND.catalog if one.image_id != "i1"))
REASON = gallery(no_distractors="the published benchmark has none")
TWICE = (*SOUND.queries, query("q3", cluster="g1", sha256=digest("query q1")))


@pytest.mark.parametrize(
    ("parts", "code", "severity", "example"),
    [
        ({"queries": (*SOUND.queries, query("q1", cluster="g1"))}, "repeated_query", ERROR, "q1"),
        ({"labels": with_label("q1", "g1", 1)}, "repeated_label", ERROR, "q1 -> g1"),
        ({"catalog": (*SOUND.catalog, image("i1", "g1"))}, "repeated_image", ERROR, "i1 -> g1"),
        ({"labels": with_label("q7", "g1")}, "unknown_query", ERROR, "q7"),
        ({"labels": SOUND.labels[:1]}, "no_positive", ERROR, "q2"),
        ({"labels": (SOUND.labels[0], Label(query_id="q2", group_id="g2", grade=0))}, "no_positive", ERROR, "q2"),
        ({"labels": with_label("q1", "lost")}, "unknown_group", ERROR, "q1 -> lost"),
        ({"labels": with_label("q1", "lost", 0)}, "unknown_group", ERROR, "q1 -> lost"),
        ({"labels": with_label("q1", "g2")}, "category_mismatch", ERROR, "q1 (shoes) -> g2 (hats)"),
        ({"catalog": (*SOUND.catalog, image("i9", "g1", "hats"))}, "mixed_category", WARNING, "g1 (hats, shoes)"),
        ({"catalog": (*SOUND.catalog, image("i1", "g9", role="noise"))}, "image_disagrees", ERROR, "i1"),
        ({"catalog": BARE}, "no_distractors", ERROR, "small"),
        ({"gallery": REASON}, "distractors_denied", ERROR, "d1"),
        ({"catalog": NO_NOISE}, "one_kind_of_distractor", WARNING, "noise"),
        ({"catalog": (*SOUND.catalog, image("d9", "g1", role="noise"))}, "distractor_wanted", ERROR, "d9 -> g1"),
        (
            {"catalog": (*SOUND.catalog, image("d9", "x9", role="noise", sha256=digest("image i1")))},
            "distractor_is_product",
            ERROR,
            "d9",
        ),
        ({"catalog": LEAKED}, "leakage", ERROR, "q1 = i9"),
        ({"catalog": with_image(sha256="")}, "leakage_unchecked", WARNING, "i9"),
        ({"queries": TWICE, "labels": with_label("q3", "g1")}, "repeated_picture", WARNING, "q1 = q3"),
        ({"catalog": TAKEN_DOWN}, "unfindable", WARNING, "q1"),
        ({"gallery": gallery(window_days=30)}, "window_without_day", ERROR, "small"),
        ({"gallery": gallery(min_queries={"category=*": 2})}, "below_minimum", ERROR, "category=hats (1 of 2)"),
        ({"gallery": gallery(min_queries={"freq=head": 1})}, "below_minimum", ERROR, "freq=head (0 of 1)"),
    ],
)
def test_a_fault_is_found_with_an_example(parts, code, severity, example):
    faults = found(**parts)
    assert code in faults
    assert faults[code][0] is severity
    assert example in faults[code][1]
    if severity is ERROR:
        with pytest.raises(DataError, match=f"small: {code}: "):
            require_valid(small_set(**parts))


@pytest.mark.parametrize(
    "parts",
    [
        {"catalog": LEAKED, "gallery": gallery(self_match="drop")},
        {"catalog": BARE, "gallery": REASON},
        {"labels": with_label("q1", "x1", 0)},  # a distractor that a labeller refused
        {"catalog": (*SOUND.catalog, image("i1", "g9"))},  # a picture of two products
        {"gallery": gallery(min_queries={"category=*": 1, "all": 2})},
        {"gallery": gallery(window_days=30, as_of=date(2026, 1, 1))},
    ],
)
def test_what_is_declared_or_harmless_is_no_fault(parts):
    assert found(**parts) == {}


def test_one_picture_for_two_products_contradicts_itself():
    queries = (query("q1", cluster="g1"), query("q2", "hats", cluster="g2", sha256=digest("query q1")))
    assert found(queries=queries) == {"contradicting_queries": (ERROR, ("q1 = q2",))}


def test_a_near_copy_is_found_up_to_two_bits_and_an_exact_one_is_not_named_again():
    queries = (query("q1", cluster="g1", near="0" * 16), query("q2", "hats", cluster="g2", near="f" * 16))
    own = {"sha256": digest("query q2"), "near": "f" * 16}
    catalog = (
        image("i1", "g1", near="0" * 15 + "7"),
        image("i2", "g2", "hats", near="0" * 15 + "3"),
        image("i3", "g2", "hats", **own),
        *SOUND.catalog[:2],
    )
    drop = gallery(self_match="drop")
    assert found(queries=queries, catalog=catalog, gallery=drop)["near_leakage"] == (WARNING, ("q1 ~ i2 (2 bits)",))
    assert found(queries=queries, catalog=catalog)["near_leakage"][0] is ERROR
    assert "near_leakage" not in found(queries=queries, catalog=(catalog[0], *catalog[2:]), gallery=drop)


def test_a_fault_names_twenty_and_counts_all():
    labels = tuple(Label(query_id="q1", group_id=f"lost{number:02d}") for number in range(30))
    (fault,) = [one for one in validate(small_set(labels=(*SOUND.labels, *labels))) if one.code == "unknown_group"]
    assert (fault.count, len(fault.examples)) == (30, 20)
    assert fault.message.startswith("30 labels")


@pytest.mark.parametrize("reason", ["short", " " * 20])
def test_a_reason_for_no_distractors_is_a_sentence(reason):
    with pytest.raises(ValueError, match="no_distractors"):
        gallery(no_distractors=reason)
