"""Small releases to hold: two categories, two models, and every way in which one of them can be broken."""

from __future__ import annotations

import atexit
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from types import SimpleNamespace

import numpy as np
import pytest
from numpy.typing import NDArray

from examples.serve.drawn_release import Shape, draft_of, draw_category, unit_vectors
from pipeline.index.lists import Rows, read_rows, write_rows
from pipeline.index.quantizer import from_bytes, to_bytes
from pipeline.lake import Lake
from pipeline.release.manifest import CategoryIndex, ReleaseDraft
from pipeline.release.objects import ObjectStore
from pipeline.serve.generation import Generation, Neighbour

SHAPE = Shape(rows=120, dim=8, nlist=2, nprobe=1)
SPACES = {"one@1": "space-1", "two@1": "space-2"}
CATEGORIES = ("blue", "red")
BROKEN = (
    *("truncated", "flipped", "exchanged", "missing", "outside", "no index", "foreign items", "other count"),
    *("another model", "golden of another", "exchanged golden", "unknown re-ranker", "shuffled"),
)
QUERIES: NDArray[np.float32] = unit_vectors(99, 4, SHAPE.dim)
Answers = dict[tuple[str, str], list[list[Neighbour]]]
"""By category and space: the five nearest of each query."""


@dataclass(frozen=True)
class Contents:
    """What can be published, by name.

    Attributes:
        home: Where the objects lie; copy it with `home_in`.
        sound: `a`; `b`, with another blue index; `c`, whose blue index is of another model; `d`, all of that model.
        broken: Releases that must never serve, each `a` or `b` with one thing wrong.
        answers: Of the sound ones.
    """

    home: Path
    sound: Mapping[str, ReleaseDraft]
    broken: Mapping[str, ReleaseDraft]
    answers: Mapping[str, Answers]


def use_models(patch: pytest.MonkeyPatch) -> None:
    """Let `one` and `two` be models that nobody embeds with."""
    models = {name: SimpleNamespace(space_id=space) for name, space in SPACES.items()}
    patch.setattr("pipeline.serve.generation.open_embedder", lambda model, space_id: models[model])


def home_in(folder: Path) -> Path:
    """Return a home of its own with all objects and no release."""
    home = folder / "home"
    shutil.copytree(contents().home, home, copy_function=os.link)
    return home


@cache
def contents() -> Contents:
    """Draw everything once in a process."""
    home = Path(mkdtemp(prefix="funnelgate-test-generations-"))
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    with pytest.MonkeyPatch.context() as patch:
        use_models(patch)
        red, blue = (_category(home, seed, "one@1") for seed in (1, 2))
        new_blue, foreign = (_category(home, seed, "one@1") for seed in (3, 4))
        blue_two, red_two = (_category(home, seed, "two@1") for seed in (5, 6))
        entries = {
            "a": {"blue": blue, "red": red},
            "b": {"blue": new_blue, "red": red},
            "c": {"blue": blue_two, "red": red},
            "d": {"blue": blue_two, "red": red_two},
        }
        sound = {name: draft_of(home, f"plan-{name}", of_it) for name, of_it in entries.items()}
        answers = {name: answers_of(home, draft) for name, draft in sound.items()}
        return Contents(home, sound, _broken(home, sound, foreign), answers)


def answers_of(home: Path, draft: ReleaseDraft) -> Answers:
    """Ask a generation that nobody else uses."""
    generation = Generation(Lake(str(home)), draft.categories)
    return {
        (name, entry.space_id): generation.search_vectors(QUERIES, (name,), 5, entry.space_id)
        for name, entry in draft.categories.items()
    }


def _category(home: Path, seed: int, model: str) -> CategoryIndex:
    return draw_category(home, seed, 1000 * seed, shape=SHAPE, model=model, space_id=SPACES[model])


def _broken(home: Path, sound: Mapping[str, ReleaseDraft], foreign: CategoryIndex) -> dict[str, ReleaseDraft]:
    a, b = sound["a"], sound["b"]
    index = (home / a.categories["blue"].index_path).read_bytes()
    for name, data in {"truncated": index[:-9], "flipped": index[:-1] + bytes([index[-1] ^ 1])}.items():
        (home / f"{name}.faiss").write_bytes(data)
    shuffled = ObjectStore(home).put_bytes(_shuffled(index))
    garbage = ObjectStore(home).put_bytes(b"this is no index")
    store = ObjectStore(home)

    def blue(planid: str, **changed: object) -> ReleaseDraft:
        entry = CategoryIndex(**{**dict(a.categories["blue"]), **changed})
        return a.model_copy(update={"planid": planid, "categories": {**a.categories, "blue": entry}})

    broken = {
        "truncated": blue("truncated", index_path="truncated.faiss"),
        "flipped": blue("flipped", index_path="flipped.faiss"),
        "exchanged": blue("exchanged", index_path=b.categories["blue"].index_path),
        "missing": blue("missing", index_path="missing.faiss"),
        "outside": blue("outside", index_path="../outside.faiss"),
        "no index": blue("no-index", index_path=store.relative(garbage), index_sha256=garbage),
        "shuffled": blue("shuffled", index_path=store.relative(shuffled), index_sha256=shuffled).model_copy(
            update={"golden_path": None, "golden_sha256": None}
        ),
        "foreign items": blue("foreign", items_path=foreign.items_path, items_sha256=foreign.items_sha256),
        "other count": blue("count", rows=SHAPE.rows - 1),
        "another model": blue("space", space_id="space-9"),
        "golden of another": a.model_copy(
            update={"planid": "golden", "golden_path": b.golden_path, "golden_sha256": b.golden_sha256}
        ),
        "exchanged golden": a.model_copy(update={"planid": "golden-file", "golden_path": b.golden_path}),
        "unknown re-ranker": a.model_copy(
            update={"planid": "rank", "ranking": a.ranking.model_copy(update={"rerankers": ("nobody's",)})}
        ),
    }
    assert set(broken) == set(BROKEN)
    return broken


def _shuffled(data: bytes) -> bytes:
    """Return an index whose rows all lie in another list than their own: every count adds up."""
    index = from_bytes(data)
    rows = read_rows(index)
    index.reset()
    write_rows(index, Rows((rows.list_numbers + 1) % SHAPE.nlist, rows.ids, rows.codes))
    return to_bytes(index)
