"""Queries that are prepared once and kept in the lake: the same as anew, and never those of something else."""

from __future__ import annotations

import datetime as dt
import os
from pathlib import Path

import numpy as np
import pytest

from pipeline.images.decode import PictureError
from pipeline.release.retention import sweep
from pipeline.serve import prepared as module
from pipeline.serve.generation import Generation
from pipeline.serve.prepared import Prepared, Query
from reporting.errors import DataError
from tests.pipeline.searchable import FRONT, Library, make_library, shelve


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Library:
    found = make_library(tmp_path, monkeypatch)
    found.models.forget_calls()
    return found


def generation(library: Library, *categories: str) -> Generation:
    items = [item for item in library.items.values() if not categories or item.category in categories]
    entries = shelve(library.lake, items, library.models)
    library.models.forget_calls()
    return Generation(library.lake, entries, FRONT)


def pictures(library: Library) -> list[bytes]:
    return [library.items[2 * number + 1].data for number in range(6)]


def kept(library: Library) -> list[Path]:
    return sorted((library.lake.folder() / "prepared").glob("*/*"))


def same(one: list[Query | PictureError], other: list[Query | PictureError]) -> bool:
    return all(
        isinstance(a, Query)
        and isinstance(b, Query)
        and a.decision == b.decision
        and a.vectors.keys() == b.vectors.keys()
        and all(np.array_equal(a.vectors[space], b.vectors[space]) for space in a.vectors)
        for a, b in zip(one, other, strict=True)
    )


def test_another_judgement_gets_the_same_queries_bit_for_bit_and_runs_no_model(library: Library) -> None:
    anew = Prepared().of(generation(library), pictures(library))
    assert kept(library) == []
    first = Prepared(library.lake).of(generation(library), pictures(library))
    library.models.forget_calls()
    again = Prepared(library.lake).of(generation(library), list(reversed(pictures(library))))
    assert library.models.detector.calls == []
    assert [one.calls for one in library.models.embedders.values()] == [[], []]
    assert same(anew, first)
    assert same(anew, list(reversed(again)))
    assert len(kept(library)) == 1


def test_only_the_pictures_that_are_new_are_prepared_and_kept_beside_the_others(library: Library) -> None:
    Prepared(library.lake).of(generation(library), pictures(library)[:4])
    library.models.forget_calls()
    found = Prepared(library.lake).of(generation(library), pictures(library))
    assert library.models.detector.calls == [2]
    assert same(found, Prepared().of(generation(library), pictures(library)))
    assert len(kept(library)) == 2


def test_a_release_with_a_further_feature_space_has_its_queries_prepared_for_both(library: Library) -> None:
    one, both = generation(library, "even"), generation(library)
    spaces = [{entry.space_id for entry in made.entries.values()} for made in (one, both)]
    assert spaces[0] < spaces[1]
    Prepared(library.lake).of(one, pictures(library))
    for calls in ([6], []):  # the second time both are known
        library.models.forget_calls()
        for query in Prepared(library.lake).of(both, pictures(library)):
            assert isinstance(query, Query)
            assert query.vectors.keys() >= spaces[1]
        assert library.models.detector.calls == calls


@pytest.mark.parametrize("what", ["front", "code", "library"])
def test_what_another_front_code_or_library_made_is_not_used(
    library: Library, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    made = generation(library)
    Prepared(library.lake).of(made, pictures(library))
    library.models.forget_calls()
    if what == "front":
        made = Generation(library.lake, made.entries, FRONT.model_copy(update={"margin": 0.3}))
    elif what == "code":
        monkeypatch.setattr(module, "code_of", lambda name: "other")
    else:
        monkeypatch.setattr("importlib.metadata.version", lambda name: "99")
    Prepared(library.lake).of(made, pictures(library))
    assert library.models.detector.calls == [6]
    assert len({path.parent for path in kept(library)}) == 2


def test_the_code_that_decides_about_a_query_is_in_the_key() -> None:
    from pipeline.tasks.built_with import followed_sources

    names = followed_sources("pipeline.serve.prepared").keys()
    assert names >= {
        "pipeline.serve.prepared",
        "pipeline.serve.query",
        "pipeline.images.decode",
        "pipeline.images.crop",
        "pipeline.models.preprocess",
        "pipeline.models.detector",
        "pipeline.models.embedder",
        "pipeline.category.decision",
    }


def test_a_damaged_file_is_refused_by_its_name(library: Library) -> None:
    Prepared(library.lake).of(generation(library), pictures(library))
    (path,) = kept(library)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.chmod(0o644)
    path.write_bytes(data)
    with pytest.raises(DataError, match=f"{path}: has sha256 .* delete it"):
        Prepared(library.lake).of(generation(library), pictures(library))
    path.unlink()
    Prepared(library.lake).of(generation(library), pictures(library))


def test_a_picture_that_cannot_be_decoded_is_an_error_each_time_and_never_kept(library: Library) -> None:
    for _ in range(2):
        found = Prepared(library.lake).of(generation(library), [b"no picture", pictures(library)[0]])
        assert [type(one) for one in found] == [PictureError, Query]
    assert len(kept(library)) == 1
    assert len(Prepared(library.lake).of(generation(library), [])) == 0


def test_they_are_swept_when_no_judgement_wanted_them_for_the_grace(library: Library) -> None:
    Prepared(library.lake).of(generation(library), pictures(library))
    (path,) = kept(library)
    later = dt.datetime.now(dt.UTC) + dt.timedelta(days=8)
    long_ago = 1_000_000_000
    os.utime(path, (long_ago, long_ago))
    os.utime(path.parent, (long_ago, long_ago))
    Prepared(library.lake).of(generation(library), pictures(library))  # wants them
    root = library.lake.folder()
    name = path.parent.relative_to(root).as_posix()
    assert name in {one.path for one in sweep(root, now=dt.datetime.now(dt.UTC), act=True).young}
    assert path.is_file()
    assert name in {one.path for one in sweep(root, now=later).remove}
    assert path.is_file()  # a plan deletes nothing
    sweep(root, now=later, act=True)
    assert not path.parent.exists()
