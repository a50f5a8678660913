"""One quantizer per category, feature space, codec and revision, trained once and then frozen: shards stay mergeable.

Another codec or revision is another quantizer: shards of the two cannot be merged, so the whole window is rebuilt.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import ColumnElement, select, update

from pipeline.index.codec import Codec
from pipeline.index.drift import Drift, drift_of
from pipeline.index.quantizer import choose_nlist, fingerprint, from_bytes, to_bytes, train_quantizer
from pipeline.index.shard import ShardManifest
from pipeline.tasks.context import LeafContext
from pipeline.tasks.training import TrainingSample
from reporting import tables as t
from reporting.errors import ContractViolation, DataError
from reporting.logs import logger
from reporting.stores.sql import SqlStore
from reporting.stores.sql_work import insert_new, iso

_c = t.quantizer.c
_log = logger("train")


@dataclass(frozen=True)
class Wanted:
    """Which quantizer of a category.

    Attributes:
        category: Whose.
        space_id: Feature space of the vectors.
        codec: How vectors are stored, see `pipeline.index.codec`.
        revision: Which training, >= 1.
    """

    category: str
    space_id: str
    codec: str = "flat"
    revision: int = 1


@dataclass(frozen=True)
class Quantizer:
    """A trained quantizer.

    Attributes:
        path: Where it lies, relative to the lake.
        fingerprint: Of its training.
        codec: How vectors are stored.
        revision: Which training, >= 1.
        training: What it made of the vectors it was trained on; None: from before that was noted.
        training_rows: How many those were; None: from before that was noted.
    """

    path: str
    fingerprint: str
    codec: str
    revision: int
    training: Drift | None
    training_rows: int | None = None


@dataclass(frozen=True)
class TooFew:
    """When a codec has too few vectors to learn from, and what is done then.

    Attributes:
        rows: A codec other than `flat` needs at least so many, besides what is its own minimum; >= 1.
        flat: Store vectors as they are instead, until the next revision; else it is an error.
    """

    rows: int = 1
    flat: bool = False


def find_quantizer(store: SqlStore, wanted: Wanted) -> Quantizer | None:
    """Return the quantizer, or None before the category's first day with items."""
    return _one(store, *_is(wanted))


def quantizer_of(store: SqlStore, category: str, shard: ShardManifest) -> Quantizer:
    """Return the quantizer that a shard was built on; two revisions that trained alike are the same bytes.

    Args:
        store: Holds it.
        category: Whose index the shard is read for.
        shard: What it says of itself.

    Raises:
        ContractViolation: no quantizer of the category has this training.
    """
    found = _one(store, _c.category == category, _c.fingerprint == shard.fingerprint)
    if found is None:
        raise ContractViolation(
            f"{shard.name}: fingerprint {shard.fingerprint} is that of no quantizer of category {category!r}; "
            f"re-run index for {shard.date}"
        )
    return found


def _is(wanted: Wanted) -> tuple[ColumnElement[bool], ...]:
    return (
        _c.category == wanted.category,
        _c.space_id == wanted.space_id,
        _c.codec == wanted.codec,
        _c.revision == wanted.revision,
    )


def _one(store: SqlStore, *where: ColumnElement[bool]) -> Quantizer | None:
    columns = select(_c.path, _c.fingerprint, _c.codec, _c.revision, _c.training)
    with store.read() as connection:
        row = connection.execute(columns.where(*where).order_by(_c.revision).limit(1)).first()
    if row is None:
        return None
    if row[4] is None:
        return Quantizer(*row[:4], None)
    noted = json.loads(row[4])
    drift = Drift(noted["imbalance"], noted["quantisation_error"], ratio=1.0)
    return Quantizer(row[0], row[1], noted.get("codec", row[2]), row[3], drift, noted.get("rows"))


def quantizer_for(
    leaf: LeafContext,
    wanted: Wanted,
    vectors: NDArray[np.float32],
    window_days: int,
    sample: Callable[[], TrainingSample],
    too_few: TooFew = TooFew(),
) -> Quantizer | None:
    """Return the quantizer, training it if there is none; None without vectors.

    Two leaves that train at once agree: the first row committed wins, and both use what it names. For a quantizer from
    before its training was noted, the day's vectors stand in for those it was trained on.

    Args:
        leaf: Whose day it is.
        wanted: Which quantizer.
        vectors: Of the day, (n, d) float32, L2-normalised.
        window_days: Days that the merged index will hold.
        sample: Returns what to learn from; called where there is something to train.
        too_few: What is too few for a codec.

    Raises:
        ConfigError: there is no such codec.
        DataError: the vectors to learn from are too few for the codec, or too short.
    """
    codec = str(Codec.parse(wanted.codec))
    wanted = Wanted(wanted.category, wanted.space_id, codec, wanted.revision)
    found = find_quantizer(leaf.store, wanted)
    if len(vectors) == 0 or (found is not None and found.training is not None):
        return found
    if found is not None:
        _note_training(leaf, wanted, drift_of(from_bytes(leaf.lake.read_bytes(found.path), where=found.path), vectors))
        return find_quantizer(leaf.store, wanted)
    learnt = sample()
    stored = _stored_as(leaf, wanted, learnt, too_few)
    nlist = choose_nlist(learnt.rows_a_day, window_days, training_rows=len(learnt.vectors))
    index = train_quantizer(learnt.vectors, nlist=nlist, codec=stored)
    data = to_bytes(index)
    path = f"quantizers/{wanted.category}/{wanted.space_id}/{hashlib.sha256(data).hexdigest()[:16]}.faiss"
    leaf.lake.put_once(path, data)
    noted = _drift_json(drift_of(index, learnt.vectors)) | {"rows": len(learnt.vectors), "codec": stored}
    with leaf.store.begin() as work:
        work.connection.execute(
            insert_new(leaf.store.dialect, t.quantizer),
            {
                "category": wanted.category,
                "space_id": wanted.space_id,
                "codec": codec,
                "revision": wanted.revision,
                "fingerprint": fingerprint(index),
                "path": path,
                "trained_on": str(leaf.key),
                "training": json.dumps(noted),
                "created_at": iso(datetime.now(UTC)),
            },
        )
    return find_quantizer(leaf.store, wanted)


def _stored_as(leaf: LeafContext, wanted: Wanted, learnt: TrainingSample, too_few: TooFew) -> str:
    """Return the codec that the vectors suffice for."""
    codec = Codec.parse(wanted.codec)
    needed = 0 if codec.kind == "flat" else max(codec.min_rows, too_few.rows)
    if len(learnt.vectors) >= needed:
        return str(codec)
    found = (
        f"{leaf.key}: codec {codec} of category {wanted.category!r}, revision {wanted.revision}, has "
        f"{len(learnt.vectors)} vectors of {learnt.days} days in space {wanted.space_id} to learn from, fewer than "
        f"{needed}"
    )
    if too_few.flat:
        _log.warning("%s: stored flat until tasks.train.settings.revision is raised", found)
        return "flat"
    raise DataError(
        f"{found}; wait for more days with codec flat, or set too_few: flat (or min_rows, if that few will do) in "
        "tasks.train.settings"
    )


def _note_training(leaf: LeafContext, wanted: Wanted, drift: Drift) -> None:
    statement = update(t.quantizer).where(*_is(wanted), _c.training.is_(None))
    with leaf.store.begin() as work:
        work.connection.execute(statement.values(training=json.dumps(_drift_json(drift))))


def _drift_json(drift: Drift) -> dict[str, float | str]:
    return {"imbalance": drift.imbalance, "quantisation_error": drift.quantisation_error}
