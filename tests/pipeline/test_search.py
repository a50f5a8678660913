"""Search: the main object is found, cut out, sent to its category, and answered by that category's own model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pipeline.cli_search import parse_box
from pipeline.images.crop import crop_object
from pipeline.images.decode import PictureError, decode_rgb
from pipeline.lake import Lake
from pipeline.models.detections import Box
from pipeline.serve.answer import Answer, answer, answer_all
from pipeline.serve.front import OpenFront, QueryFront
from pipeline.serve.generation import Generation
from pipeline.serve.query import Route, route
from reporting.errors import ConfigError, DataError, UsageError
from tests.pipeline.conftest import Ended
from tests.pipeline.searchable import (
    FRONT,
    LIMITS,
    MAIN,
    MARGIN,
    SECOND,
    SIDE,
    SIZE,
    Blocks,
    Item,
    Library,
    Means,
    Models,
    box_of,
    encoded,
    make_library,
    release,
    scene,
    shelve,
)

Main = Callable[..., Ended]


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Library:
    return make_library(tmp_path, monkeypatch)


def test_the_main_object_is_found_in_its_category_and_the_others_are_offered(library: Library) -> None:
    for number in range(6):
        item = library.items[number * 2 + 1]
        found = answer(library.lake, library.picture("query.png", item.data), 3)
        assert found.object.model_dump() == {
            "box": box_of(MAIN),
            "score": pytest.approx(110 * 110 / 20_000),
            "category": item.category,
            "votes": {item.category: 0.75, "zebra": 0.25},
        }
        assert [other.box for other in found.others] == [box_of(SECOND)]
        assert found.reason == f"it looks like {item.category}."
        assert (found.results[0].item, found.results[0].distance) == (item.id, 0.0)
        assert {hit.category for hit in found.results} == {item.category}


def test_a_box_searches_another_object_with_what_the_detector_said_of_it(library: Library) -> None:
    item = library.items[2]
    query = library.picture("query.png", item.data)
    found = answer(library.lake, query, 1, box=box_of(SECOND))
    assert (found.object.box, found.object.category) == (box_of(SECOND), "odd")
    assert found.object.score == pytest.approx(60 * 60 / 20_000)
    assert [other.box for other in found.others] == [box_of(MAIN)]
    assert (found.results[0].item, found.results[0].distance) == (item.id, 0.0)
    assert library.models.decided[-1]["class_scores"] == [{"even": 0.75, "odd": 0.25}]


def test_a_box_on_nothing_is_searched_without_a_score(library: Library) -> None:
    query = library.picture("query.png", library.items[1].data)
    found = answer(library.lake, query, 1, category="even", box=Box(140, 150, 190, 200))
    assert (found.object.score, len(found.others)) == (0.0, 2)
    assert found.object.note == "the box was given; no object was found there"
    assert library.models.decided[-1]["class_scores"] == [{}]


def test_a_category_that_was_asked_for_is_searched_instead_of_the_predicted_one(library: Library) -> None:
    query = library.picture("query.png", library.items[1].data)
    found = answer(library.lake, query, 50, category="odd")
    assert {hit.category for hit in found.results} == {"odd"}
    assert found.object.category == "odd"
    assert found.reason == "category 'odd' was asked for; predicted was 'even': it looks like even."
    with pytest.raises(ConfigError, match=r"category 'evne' is not in this release; did you mean even\?"):
        answer(library.lake, query, 5, category="evne")


@pytest.mark.parametrize(
    ("predicted", "note"),
    [
        ("rare", "the release has no index of 'rare' yet: every category was searched"),
        (None, "no category is sure enough: every category was searched"),
    ],
)
def test_without_an_index_to_route_to_every_category_is_searched_and_it_says_so(
    library: Library, predicted: str | None, note: str
) -> None:
    data = encoded(scene((90, 60, 40, 100)))
    if predicted is not None:
        library.models.learn(Item(0, "", data, Box(60, 40, 160, 140)).pixels, predicted)
    found = answer(library.lake, library.picture("query.png", data), 12)
    assert found.object.note == note
    assert found.object.category == (predicted or "other")
    assert {hit.item for hit in found.results} == set(library.items)


def test_where_no_object_is_found_the_whole_picture_is_searched_and_it_says_so(library: Library) -> None:
    speck = encoded(scene((3, 100, 100, 12)))
    found = answer(library.lake, library.picture("query.png", speck), 2)
    assert (found.object.box, found.object.score, found.others) == ((0, 0, *SIZE), 0.0, [])
    assert found.object.note == (
        "no object was found (the best candidate scores 0.01, too little), so the whole picture was searched; "
        "no category is sure enough: every category was searched"
    )
    blank = answer(library.lake, library.picture("blank.png", encoded(Image.new("RGB", SIZE, "red"))), 2)
    assert not blank.object.note.startswith("no object"), "a red picture is one object"
    white = answer(library.lake, library.picture("white.png", encoded(Image.new("RGB", SIZE, "white"))), 2)
    assert white.object.note.startswith("no object was found, so the whole picture was searched")


def brute_force(library: Library, pixels: Any, categories: set[str], k: int) -> list[int]:
    """Rank every item of the categories by cosine distance in its own model's space, ties by id."""
    ranked = []
    for item in library.items.values():
        if item.category in categories:
            model = Means("means-1" if item.category == "even" else "means-2")
            query, other = (model.embed([one])[0].astype(np.float64) for one in (pixels, item.pixels))
            ranked.append((np.float32(1 - (query * other).sum()), item.id))
    return [number for _, number in sorted(ranked)[:k]]


def test_each_category_answers_in_the_space_of_its_own_model(library: Library) -> None:
    for number, place in enumerate((MAIN, (100, 10, 140), (3, 80, 100))):
        data = encoded(scene((number, *place), (70, 260, 5, 35)))
        pixels = crop_object(data, box_of(place), margin=MARGIN, side=SIDE, limits=LIMITS)
        for category in ("even", "odd"):
            hits = library.generation.search([data], 4, category)[0]
            assert [hit.id for hit in hits] == brute_force(library, pixels, {category}, 4)
        everywhere = library.generation.search([encoded(Image.new("RGB", (40, 40), (number, 9, 90)))], 12)[0]
        flat = np.full((40, 40, 3), (number, 9, 90), np.uint8)
        assert [hit.id for hit in everywhere] == brute_force(library, flat, {"even", "odd"}, 12)


def test_a_batch_answers_as_each_picture_alone_and_goes_through_each_model_once(library: Library) -> None:
    pictures = [library.items[1].data, b"no picture", library.items[3].data, encoded(scene((90, 9, 9, 90)))]
    alone = [library.generation.search([data], 5)[0] for data in pictures]
    models = library.models
    models.forget_calls()
    together = library.generation.search(pictures, 5)
    assert together == alone
    assert together[1] == []
    assert models.detector.calls == [4]
    # All three in the gallery's space, which is that of `even` too; in the other space those that are searched there.
    assert (models.embedders["one"].calls, models.embedders["two"].calls) == ([3], [2])
    (error,) = [one for one in library.generation.ask(pictures, 5) if isinstance(one, PictureError)]
    assert error.reason == "not_an_image"
    assert library.generation.search([], 5) == []


def test_two_categories_of_one_model_share_one_call(library: Library) -> None:
    models, entries = library.models, library.generation.entries
    models.gallery.spec.embedder, models.gallery.spec.space_id = "two", "means-2"
    for number, category in ((1, "even"), (5, "rare")):
        models.learn(library.items[number].pixels, category)
    models.forget_calls()
    generation = Generation(library.lake, {**entries, "rare": entries["even"]}, FRONT)
    hits = generation.search([library.items[1].data, library.items[5].data], 1)
    assert [[(hit.id, hit.category) for hit in found] for found in hits] == [[(1, "even")], [(5, "rare")]]
    assert (models.embedders["one"].calls, models.embedders["two"].calls) == ([2], [2])


def test_several_files_are_answered_by_one_generation_as_one_by_one(library: Library) -> None:
    paths = [library.picture(f"{number}.png", library.items[number].data) for number in (1, 3, 5)]
    assert answer_all(library.lake, paths, 3) == [answer(library.lake, path, 3) for path in paths]
    with pytest.raises(DataError, match=r"bad.png: not_an_image: .*; give a JPEG, PNG"):
        answer_all(library.lake, [*paths, library.picture("bad.png", b"x")], 3)


def test_a_picture_on_its_side_is_searched_upright(library: Library) -> None:
    item = library.items[5]
    upright = scene((2, *MAIN), (52, *SECOND))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise to stand upright
    data = encoded(upright.transpose(Image.Transpose.ROTATE_90), "WEBP", lossless=True, exif=exif.tobytes())
    found = answer(library.lake, library.picture("query.webp", data), 1)
    assert found.object.box == box_of(MAIN)
    assert (found.results[0].item, found.results[0].distance) == (item.id, 0.0)
    again = answer(library.lake, library.picture("query.webp", data), 1, box=box_of(SECOND))
    assert again.results[0].item == library.items[6].id


def large(picture: Image.Image) -> bytes:
    """Return a picture that is decoded at half its size."""
    return encoded(picture.resize((1500, 1000), Image.Resampling.BICUBIC))


def test_a_release_without_a_front_answers_as_before_there_was_one(library: Library, tmp_path: Path) -> None:
    whole = [
        Item(number, "even" if number % 2 else "odd", large(scene((number, *MAIN), (number + 50, *SECOND))), None)
        for number in range(6)
    ]
    lake = Lake(str(tmp_path / "old"))
    release(lake, shelve(lake, whole, library.models), None)
    old = Library(lake, tmp_path, {one.id: one for one in whole}, library.models, library.generation)
    library.models.detector.calls.clear()
    query = large(scene((2, *MAIN), (52, *SECOND)))
    found = answer(lake, library.picture("query.png", query), 12)
    pixels = decode_rgb(query, min_side=256, limits=LIMITS)
    assert [hit.item for hit in found.results] == brute_force(old, pixels, {"even", "odd"}, 12)
    assert (found.results[0].item, found.results[0].distance) == (2, 0.0)
    assert found.object.box == (0, 0, 1500, 1000)
    assert (found.object.category, found.object.votes, found.others) == (None, {}, [])
    assert found.object.note == "this release searches whole pictures"
    assert {hit.box for hit in found.results} == {None}
    assert library.models.detector.calls == []


def test_a_front_that_predicts_nothing_searches_the_object_everywhere(library: Library) -> None:
    declared = {"by": "declared", "gallery": None, "gallery_sha256": None}
    generation = Generation(library.lake, library.generation.entries, FRONT.model_copy(update=declared))
    (asked,) = generation.ask([library.items[1].data], 12)
    assert not isinstance(asked, PictureError)
    assert (asked.decision, asked.object.box, asked.route.category) == (None, box_of(MAIN), None)
    assert {hit.id for hit in asked.hits} == set(library.items)
    assert library.models.decided == []


@pytest.mark.parametrize(
    ("spoil", "found", "expected"),
    [
        (lambda models: setattr(models.detector, "version", "blocks@2:2"), "blocks@2:2", "blocks@1:1"),
        (lambda models: setattr(models.gallery.spec, "sha256", "b" * 64), "b" * 64, "a" * 64),
        (lambda models: setattr(models.gallery.spec, "space_id", "means-9"), "means-1", "means-9"),
        (lambda models: setattr(models.embedders["one"], "space_id", "means-8"), "means-8", "means-1"),
    ],
    ids=["detector", "gallery", "gallery's space", "model"],
)
def test_another_model_than_the_release_names_is_refused_and_both_are_named(
    library: Library, spoil: Callable[[Models], None], found: str, expected: str
) -> None:
    spoil(library.models)
    with pytest.raises(DataError) as refused:
        library.generation.search([library.items[1].data], 1)
    assert found in str(refused.value)
    assert expected in str(refused.value)


def test_an_index_of_another_space_than_its_model_is_refused(library: Library) -> None:
    library.models.embedders["two"].space_id = "means-7"
    library.generation.search([library.items[1].data], 1)  # even: the other model is not asked
    with pytest.raises(DataError, match=r"'odd' was indexed in feature space means-2, .* answers in means-7"):
        library.generation.search([library.items[3].data], 1)


def test_search_prints_exactly_the_object_for_programs(library: Library, main_in: Main) -> None:
    library.picture("query.png", library.items[1].data)
    ended = main_in(library.folder, "search", "query.png", "--json")
    assert ended.code == 0, ended.err
    document = Answer.model_validate_json(ended.out)
    assert set(document.model_dump()["object"]) == {"box", "score", "category", "votes"}
    assert document.results[0].item == 1


def test_search_tells_people_the_object_the_votes_and_the_others(library: Library, main_in: Main) -> None:
    library.picture("query.png", library.items[1].data)
    text = main_in(library.folder, "search", "query.png").out
    assert "object 20,30,130,140, score 0.60: even (votes: even 75%, zebra 25%)" in text
    assert "why: it looks like even." in text
    assert "another: --box 200,60,260,120, score 0.18 even" in text
    library.picture("white.png", encoded(Image.new("RGB", SIZE, "white")))
    text = main_in(library.folder, "search", "white.png").out
    assert "note: no object was found, so the whole picture was searched" in text


@pytest.mark.parametrize(
    ("box", "message"),
    [
        ("1,2,3", "--box '1,2,3' is no box; expected four whole numbers x0,y0,x1,y1"),
        ("1,2,3,4,5", "is no box"),
        ("1,2,3,4.5", "is no box"),
        ("1,2,3,x", "is no box"),
        ("", "is no box"),
        ("1,2,3,\u0664", "is no box"),
        ("10,10,10,50", "box 10,10,10,50 is not a part of the picture, which has 300 x 200 pixels"),
        ("50,10,10,50", "expected x0,y0,x1,y1 with 0 <= x0 < x1 <= 300 and 0 <= y0 < y1 <= 200"),
        ("0,0,301,200", "is not a part of the picture, which has 300 x 200 pixels"),
        ("0,0,300,201", "is not a part of the picture, which has 300 x 200 pixels"),
        ("-1,0,30,20", "is not a part of the picture, which has 300 x 200 pixels"),
        ("400,400,500,500", "is not a part of the picture, which has 300 x 200 pixels"),
    ],
)
def test_a_box_that_is_none_or_not_in_the_picture_ends_with_2(
    library: Library, main_in: Main, box: str, message: str
) -> None:
    library.picture("query.png", library.items[1].data)
    ended = main_in(library.folder, "search", "query.png", f"--box={box}", "--json")
    assert (ended.code, ended.out) == (2, "")
    assert message in ended.err


@given(st.tuples(*[st.integers(-(10**9) + 1, 10**9 - 1)] * 4))
def test_a_box_is_read_as_it_is_written(corners: tuple[int, int, int, int]) -> None:
    assert parse_box(", ".join(map(str, corners))) == Box(*corners)


NAMES = st.sampled_from(["even", "odd", "rare", "other"])


@given(
    wanted=st.none() | NAMES,
    predicted=st.none() | st.tuples(NAMES, st.sampled_from(["fusion", "vote", "detector", "fallback"])),
    released=st.sets(NAMES, min_size=1),
)
def test_a_route_names_only_released_categories_and_never_none(
    wanted: str | None, predicted: tuple[str, str] | None, released: set[str]
) -> None:
    released |= {wanted} if wanted else set()
    decision = None
    if predicted is not None:
        decision = Models._decision(predicted[0], "other").model_copy(update={"by": predicted[1]})
    found: Route = route(wanted, decision, released)
    assert found.categories
    assert set(found.categories) <= released
    if len(found.categories) < len(released):
        assert found.categories == (found.category,)
        assert found.category == (wanted or (predicted or ("",))[0])
    assert found.reason


def test_a_front_says_what_it_needs() -> None:
    assert QueryFront.model_validate_json(FRONT.model_dump_json()) == FRONT
    with pytest.raises(ValueError, match="belong to by: predicted"):
        QueryFront(**FRONT.model_dump() | {"gallery_sha256": None})
    with pytest.raises(ValueError, match="belong to by: predicted"):
        QueryFront(**FRONT.model_dump() | {"by": "declared"})
    assert OpenFront(FRONT).front is FRONT


def test_a_box_out_of_one_picture_of_a_batch_is_refused(library: Library) -> None:
    small = encoded(Image.new("RGB", (50, 50), "white"))
    with pytest.raises(UsageError, match="which has 50 x 50 pixels"):
        library.generation.ask([library.items[1].data, small], 1, box=Box(0, 0, 60, 60))


def test_the_surest_object_is_the_main_one_whatever_lies_beside_it(library: Library) -> None:
    library.models.detector = Blocks(least=50)
    (asked,) = library.generation.ask([encoded(scene((8, 5, 5, 40), (0, 60, 20, 120), (9, 220, 100, 70)))], 1)
    assert not isinstance(asked, PictureError)
    assert asked.object.box == Box(60, 20, 180, 140)
    assert [other.box.width for other in asked.object.others] == [70, 40]
