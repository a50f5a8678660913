"""Runbooks of others decide what is there: after every step evict, and the merge of what it leaves, hold just that."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.evict.decisions import Reason
from pipeline.evict.policy import EvictPolicy
from pipeline.index.merge import merge_digest, merge_to
from pipeline.index.quantizer import to_bytes, train_quantizer
from pipeline.index.search import search_index
from pipeline.index.shard import build_shard
from pipeline.index.virtual import open_virtual
from tests.pipeline.evict.replayed import Catalogue, Death, Ids, Products, Shards, Step, worth
from tests.pipeline.runbook import Window, runbooks, tiled
from tests.pipeline.shard_parts import CATEGORY, SPACE

pytestmark = pytest.mark.data

REPLACED = ("simple_replace_runbook.yaml", "random-xs")
CLUSTERED = ("clustered_runbook.yaml", "random-xs-clustered")
DELETED = ("delete_runbook.yaml", "random-xs-clustered")
BIG_CLUSTERED = ("clustered_runbook.yaml", "msturing-10M-clustered")
BIG_DELETED = ("delete_runbook.yaml", "msturing-10M-clustered")
SLIDING = ("msturing-10M_slidingwindow_runbook.yaml", "msturing-10M")
BATCH, WINDOW = 50_000, 100
"""Of the sliding window: it inserts so many ids at a time, and deletes each so many inserts later."""
NLIST, QUERIES, K = 8, 5, 10


class Book(NamedTuple):
    """A runbook in a smaller size."""

    file: str
    name: str
    scale: int

    def steps(self, data: Path) -> list[Step]:
        return runbooks(data / "runbooks" / self.file, self.scale)[self.name]


def ids_of(steps: list[Step]) -> int:
    return max(int(value) for step in steps for key, value in step.items() if key.endswith("end"))


def singles(ids: Ids) -> Ids:
    """Let each picture be a product of its own."""
    return ids


def sevens(ids: Ids) -> Ids:
    return ids // 7


def listed(steps: list[Step], products: Products, death: Death) -> Catalogue:
    """Return a catalogue of which nothing ages; what is said to be gone goes on the same day."""
    return Catalogue(EvictPolicy(window_days=1000, min_per_group=1, delist_days=0), ids_of(steps), products, death)


def sliding(steps: list[Step], batch: int, *, min_per_group: int = 1, products: Products | None = None) -> Catalogue:
    """Return a catalogue whose window is the runbook's; each product is seen every day, unless told otherwise.

    A picture that is superseded is marked on one day and goes on the next: a window of one day less is the runbook's.
    """
    policy = EvictPolicy(window_days=WINDOW - 1, min_per_group=min_per_group)
    return Catalogue(policy, ids_of(steps), products or (lambda ids: ids % batch), "age")


@pytest.mark.parametrize("death", ["takedown", "delisted"])
@pytest.mark.parametrize("products", [singles, sevens])
@pytest.mark.parametrize(
    "book",
    [Book(*REPLACED, 1), Book(*CLUSTERED, 1), Book(*DELETED, 1), Book(*BIG_CLUSTERED, 1000), Book(*BIG_DELETED, 1000)],
)
def test_after_every_step_of_a_runbook_evict_has_left_what_is_live(
    shared_data: Path, book: Book, products: Products, death: Death
) -> None:
    steps = book.steps(shared_data)
    catalogue = listed(steps, products, death)
    gone: set[Reason] = set()
    for number, step in enumerate(steps):
        catalogue.do(step)
        decided = catalogue.evict()
        gone |= {Reason(reason) for reason in np.unique(decided.reason[~decided.keep])}
        np.testing.assert_array_equal(catalogue.ids, np.flatnonzero(catalogue.live), err_msg=f"step {number}: {step}")
    deletes = any(step["operation"] == "delete" for step in steps)
    assert gone == ({Reason.TAKEDOWN if death == "takedown" else Reason.DELISTED} if deletes else set())


def test_the_sliding_window_s_runbook_is_a_window_of_a_hundred_days(shared_data: Path) -> None:
    steps = Book(*SLIDING, 1).steps(shared_data)
    inserts = [step for step in steps if step["operation"] == "insert"]
    deletes = [step for step in steps if step["operation"] == "delete"]
    assert [step["start"] for step in inserts] == list(range(0, 200 * BATCH, BATCH))
    assert [step["start"] for step in deletes] == list(range(0, WINDOW * BATCH, BATCH))
    first = steps.index(deletes[0])
    assert sum(step["operation"] == "insert" for step in steps[:first]) == WINDOW
    assert [step["operation"] for step in steps[first:]] == ["delete", "insert", "search"] * (WINDOW - 1) + [
        "delete",
        "insert",
    ]


def test_after_every_step_of_the_sliding_window_age_alone_has_left_what_is_live(shared_data: Path) -> None:
    """No deletion is told to evict: it finds them by `last_seen`, one window after the insert."""
    steps = Book(*SLIDING, 1000).steps(shared_data)
    catalogue = sliding(steps, BATCH // 1000)
    gone = []
    for number, step in enumerate(steps):
        catalogue.do(step)
        decided = catalogue.evict()
        gone += decided.reason[~decided.keep].tolist()
        np.testing.assert_array_equal(catalogue.ids, np.flatnonzero(catalogue.live), err_msg=f"step {number}: {step}")
    assert gone == [Reason.SUPERSEDED] * (WINDOW * BATCH // 1000)


@pytest.mark.slow
def test_at_ten_million_ids_age_alone_leaves_what_is_live(shared_data: Path) -> None:
    """The runbook at its full size, ids only; evict runs on the last two of each twenty days: mark and end."""
    steps = Book(*SLIDING, 1).steps(shared_data)
    catalogue = sliding(steps, BATCH)
    compared = 0
    for step in steps:
        catalogue.do(step)
        if step["operation"] != "insert" or catalogue.day % 20 < 18:
            continue
        catalogue.evict()
        if catalogue.day % 20 == 19:
            np.testing.assert_array_equal(catalogue.ids, np.flatnonzero(catalogue.live))
            compared += 1
    assert (compared, len(catalogue.ids)) == (10, WINDOW * BATCH)


CLUSTER, KEPT = 5, 2
"""Ids of one product, and how many of them stay for good."""


def clusters(ids: Ids) -> Ids:
    return ids // CLUSTER


def representatives(ids: int) -> NDArray[np.bool_]:
    """Return by id whether it is one of the best of its cluster: by worth, then the lower id; in plain loops."""
    best = np.zeros(ids, np.bool_)
    value = worth(np.arange(ids)).tolist()
    for first in range(0, ids, CLUSTER):
        members = sorted(range(first, first + CLUSTER), key=lambda one: (-value[one], one))
        best[members[:KEPT]] = True
    return best


def test_of_products_that_nobody_shows_again_exactly_the_representatives_outlive_the_window(shared_data: Path) -> None:
    """Each product is five ids of one insert: a runbook that deletes them all would lose it, and evict does not."""
    batch = BATCH // 1000
    steps = Book(*SLIDING, 1000).steps(shared_data)
    catalogue = sliding(steps, batch, min_per_group=KEPT, products=clusters)
    best = representatives(ids_of(steps))
    for number, step in enumerate(steps):
        catalogue.do(step)
        catalogue.evict()
        expected = np.flatnonzero(catalogue.live | (catalogue.arrived & best))
        np.testing.assert_array_equal(catalogue.ids, expected, err_msg=f"step {number}: {step}")
        shown = np.unique(clusters(np.flatnonzero(catalogue.arrived)))
        np.testing.assert_array_equal(np.unique(clusters(catalogue.ids)), shown)
    assert len(catalogue.ids) == WINDOW * batch + WINDOW * batch * KEPT // CLUSTER


def test_representatives_of_products_that_die_at_last_go_with_them(shared_data: Path) -> None:
    steps = Book(*SLIDING, 1000).steps(shared_data)
    catalogue = sliding(steps, BATCH // 1000, min_per_group=KEPT, products=clusters)
    for step in steps:
        catalogue.do(step)
        catalogue.evict()
    beyond = ~catalogue.live[catalogue.columns["ids"]]
    catalogue.columns["gone_since"][beyond] = catalogue.day - catalogue.policy.delist_days - 1
    catalogue.evict()
    np.testing.assert_array_equal(catalogue.ids, np.flatnonzero(catalogue.live))


@pytest.fixture(scope="module")
def sift(shared_data: Path) -> NDArray[np.float32]:
    table = shared_data / "sift5k" / "sift-dataset-5k.tsv.gz"
    return np.loadtxt(table, dtype=np.float32, ndmin=2, max_rows=2000)[:, :128]


class Story(NamedTuple):
    """How a runbook is told to evict, and how many searches it has."""

    book: Book
    tell: str
    searches: int


@pytest.mark.parametrize(
    "story",
    [
        Story(Book(*REPLACED, 20), "takedown", 4),
        Story(Book(*DELETED, 20), "takedown", 32),
        pytest.param(Story(Book(*CLUSTERED, 10), "delisted", 32), marks=pytest.mark.slow),
        pytest.param(Story(Book(*DELETED, 10), "delisted", 32), marks=pytest.mark.slow),
        pytest.param(Story(Book(*BIG_DELETED, 1000), "delisted", 33), marks=pytest.mark.slow),
        pytest.param(Story(Book(*SLIDING, 2500), "age", 100), marks=pytest.mark.slow),
        pytest.param(Story(Book(*SLIDING, 2500), "clusters", 100), marks=pytest.mark.slow),
    ],
    ids=lambda story: f"{story.book.name}-{story.tell}",
)
def test_the_merge_of_what_evict_leaves_is_the_runbook_s_index(
    shared_data: Path, sift: NDArray[np.float32], tmp_path: Path, story: Story
) -> None:
    """Every id after each step, each answer at a search, and at last every byte, as if never more had been there."""
    steps = story.book.steps(shared_data)
    vectors = tiled(sift, ids_of(steps))
    trained = to_bytes(train_quantizer(tiled(sift, 1000), nlist=NLIST))
    catalogue = told(steps, story)
    shards, oracle = Shards(trained, vectors), Window(trained, vectors)
    beyond = representatives(ids_of(steps)) if story.tell == "clusters" else np.zeros(ids_of(steps), np.bool_)
    queries = tiled(sift[::-1], 1000, seed=1)
    there = np.zeros(0, np.int64)
    searches = 0
    for number, step in enumerate(steps):
        catalogue.do(step)
        shards.do(step)
        catalogue.evict()
        there = np.flatnonzero(catalogue.live | (catalogue.arrived & beyond))
        index = open_virtual(trained, shards.opened(catalogue.ids))
        _, every = search_index(index, queries[:1], len(there) + 5, NLIST)
        np.testing.assert_array_equal(np.sort(every[every >= 0]), there, err_msg=f"step {number}: {step}")
        if step["operation"] == "search":
            searches += 1
            oracle.held = np.where(np.isin(np.arange(len(vectors)), there), shards.held, -1)
            asked = queries[QUERIES * searches % 1000 :][:QUERIES]
            _, found = search_index(index, asked, K, NLIST)
            np.testing.assert_array_equal(found, oracle.brute_force(asked, K), err_msg=f"search {searches}")
    assert searches == story.searches
    parts = shards.parts(catalogue.ids)
    merged = merge_to(tmp_path / "merged", trained, parts, category=CATEGORY, space_id=SPACE)
    assert merged == merge_digest(trained, parts[::-1], category=CATEGORY, space_id=SPACE)
    assert (tmp_path / "merged").read_bytes() == build_shard(trained, there, vectors[shards.held[there]])


def told(steps: list[Step], story: Story) -> Catalogue:
    batch = BATCH // story.book.scale
    match story.tell:
        case "takedown":
            return listed(steps, singles, "takedown")
        case "delisted":
            return listed(steps, sevens, "delisted")
        case "age":
            return sliding(steps, batch)
        case _:
            return sliding(steps, batch, min_per_group=KEPT, products=clusters)
