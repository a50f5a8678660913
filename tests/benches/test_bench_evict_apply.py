"""What a day's decisions cost to apply: decide, ids to keep, merge; against faiss' own removal and merge of clones."""

from __future__ import annotations

import os
import shutil
import statistics
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pytest
from numpy.typing import NDArray
from pytest_benchmark.fixture import BenchmarkFixture

from pipeline.evict.decide import decide
from pipeline.evict.policy import EvictPolicy
from pipeline.evict.stored import NEVER, Stored
from pipeline.index.merge import MergedIndex, ShardPart, merge_digest, merge_to
from pipeline.index.opened import open_file
from pipeline.index.quantizer import from_bytes
from tests.benches.test_bench_merge import flush, shard, timed, trained
from tests.pipeline.shard_parts import CATEGORY, SPACE

ROWS = int(os.environ.get("FUNNELGATE_BENCH_EVICT_APPLY_ROWS", "400000"))
"""4,000,000 is the published figure's size: 0.5 GB of shards and of each output, 3 GB of memory."""
DAYS, WINDOW, ROWS_PER_GROUP = 20, 17, 10
"""As many rows each day: the three days beyond the window are 15 % of all, and what is best of a product stays."""
ROUNDS = 3
Parts = list[ShardPart]


def catalogue() -> Stored:
    """Return a picture for each row of the shards, marked the day before if it is old: it goes today."""
    chance = np.random.default_rng(9)
    ids = np.arange(ROWS)
    day = (ids * DAYS // ROWS).astype(np.int32)
    no = np.zeros(ROWS, np.bool_)
    return Stored(
        ids=ids,
        last_seen=day,
        gone_since=np.full(ROWS, NEVER),
        marked_on=np.where(day < DAYS - WINDOW, np.int32(DAYS - 2), NEVER),
        taken_down=no,
        pinned=no,
        indexed=~no,
        value=chance.random(ROWS, np.float32),
        category=np.zeros(ROWS, np.int32),
        member_rows=ids,
        member_groups=chance.integers(0, ROWS // ROWS_PER_GROUP, ROWS),
        categories=(CATEGORY,),
    )


def day_shards(folder: Path, quantizer: bytes) -> Parts:
    ends = [ROWS * day // DAYS for day in range(DAYS + 1)]
    return [shard(folder / f"{day}.faiss", quantizer, ends[day], ends[day + 1] - ends[day], day) for day in range(DAYS)]


def decided_ids(stored: Stored) -> NDArray[np.int64]:
    """Return the ids that stay, rising."""
    decided = decide(stored, EvictPolicy(window_days=WINDOW, min_per_group=2), DAYS - 1)
    return np.sort(stored.ids[decided.keep])


def kept(parts: Parts, ids: NDArray[np.int64]) -> Parts:
    """Return the parts with the ids to keep of each, None where that is all."""
    found = []
    for part in parts:
        ((first, last),) = part.manifest.id_blocks
        own = ids[np.searchsorted(ids, first) : np.searchsorted(ids, last, side="right")]
        found.append(ShardPart(part.manifest, part.index, None if len(own) == part.manifest.rows else own))
    return found


def removed_and_merged(quantizer: bytes, shards: Iterator[Any], parts: Parts) -> Any:
    """Do it as faiss' users do: take what goes out of copies of the shards, and put them together.

    Args:
        quantizer: Empty and trained.
        shards: Copies of the shards; each is changed.
        parts: Which ids to keep of each.
    """
    merged: Any = from_bytes(quantizer)
    for copy, part in zip(shards, parts, strict=True):
        if part.keep_ids is not None:
            copy.remove_ids(faiss.IDSelectorNot(faiss.IDSelectorBatch(part.keep_ids)))
        merged.merge_from(copy, 0)
    return merged


def same_rows(path: Path, merged: Any) -> bool:
    """Whether an index file holds, list by list, the ids and codes of one in memory, whatever their order in a list."""
    written: Any = open_file(path)  # which owns its lists
    for number in range(merged.nlist):
        rows = [_rows_of(one.invlists, number, merged.code_size) for one in (written.ivf, merged)]
        if not all(np.array_equal(one, other) for one, other in zip(*rows, strict=True)):
            return False
    return True


def _rows_of(lists: Any, number: int, width: int) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    size = lists.list_size(number)
    if not size:  # a null pointer in a mapped file
        return np.zeros(0, np.int64), np.zeros((0, width), np.uint8)
    ids = faiss.rev_swig_ptr(lists.get_ids(number), size)
    order = np.argsort(ids)
    return ids[order], faiss.rev_swig_ptr(lists.get_codes(number), size * width).reshape(size, -1)[order]


@pytest.mark.slow
@pytest.mark.benchmark(group="evict")
def test_applying_a_day_s_decisions_against_faiss_own_removal(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    """Books seconds and CPU seconds, each the median of interleaved rounds, and ours over faiss'.

    `apply` is decide, the ids to keep and `merge_to`: contract, checksums, canonical order, flush, comparison by
    search, publication. `plan` is the same without writing (`merge_digest`). `bare_file` reads each shard's file,
    removes, merges, writes and flushes; `bare_memory` removes from clones that are there already, merges, and writes
    nothing. Whoever uses faiss has to know what to keep: both bare ones are given the ids.
    """
    quantizer, stored = trained(), catalogue()
    parts = day_shards(tmp_path, quantizer)
    chosen = kept(parts, decided_ids(stored))
    loaded = [faiss.read_index(str(part.index)) for part in parts]
    results: list[MergedIndex] = []
    indexes: list[Any] = []

    def bare_file() -> None:
        copies = (faiss.read_index(str(part.index)) for part in parts)
        indexes[:] = [removed_and_merged(quantizer, copies, chosen)]
        faiss.write_index(indexes[0], str(tmp_path / "bare"))
        flush(tmp_path / "bare")

    def apply() -> None:
        own = kept(parts, decided_ids(stored))
        results.append(merge_to(tmp_path / "merged", quantizer, own, category=CATEGORY, space_id=SPACE))

    def plan() -> None:
        own = kept(parts, decided_ids(stored))
        results.append(merge_digest(quantizer, own, category=CATEGORY, space_id=SPACE))

    clones: list[Any] = []
    works: dict[str, Callable[[], object]] = {
        "decide": lambda: decided_ids(stored),
        "bare_memory": lambda: removed_and_merged(quantizer, iter(clones), chosen),
        "plan": plan,
        "bare_file": bare_file,
        "apply": apply,
    }
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in works}
    os.sync()
    for _ in range(ROUNDS):
        for name, work in works.items():
            for left in ("bare", "merged"):
                (tmp_path / left).unlink(missing_ok=True)
            clones[:] = [faiss.clone_index(one) for one in loaded] if name == "bare_memory" else []
            taken[name].append(timed(work))
    assert len(set(map(str, results))) == 1
    assert same_rows(tmp_path / "merged", indexes[0])
    benchmark.pedantic(lambda: None, rounds=1, iterations=1)
    shutil.rmtree(tmp_path)
    seconds = {name: statistics.median(wall for wall, _ in pairs) for name, pairs in taken.items()}
    benchmark.extra_info |= {
        "rows": ROWS,
        "removed": ROWS - results[0].rows,
        "load": round(os.getloadavg()[0], 1),
        **{f"{name}_seconds": round(value, 3) for name, value in seconds.items()},
        **{f"{name}_cpu_seconds": round(statistics.median(cpu for _, cpu in taken[name]), 3) for name in works},
        "apply_over_bare_file": round(seconds["apply"] / seconds["bare_file"], 2),
        "plan_over_bare_memory": round(seconds["plan"] / seconds["bare_memory"], 2),
    }
