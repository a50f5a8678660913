"""The tail: rows of many days' shards as one shard, immutable and content-addressed as each of them is."""

from __future__ import annotations

import datetime as dt
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from pipeline.index.lists import id_blocks
from pipeline.index.merge import merge_to
from pipeline.index.opened import open_file
from pipeline.index.part import ShardPart
from pipeline.index.shard import ShardManifest, stored_ids, stored_rows_sha256
from pipeline.index.shard_folder import INDEX, UNFINISHED, ShardFolder, write_shard
from pipeline.release.durable import make_folder
from reporting.errors import StoreError

__all__ = ["compact"]


def compact(
    root: Path,
    quantizer_bytes: bytes,
    parts: Sequence[ShardPart],
    *,
    since: dt.date,
    until: dt.date,
    attempt: int,
    builder: str,
) -> ShardFolder:
    """Write the rows of some shards as one shard below `root`; its bytes depend on the rows alone.

    The contract of a merge holds: of the last part's category and space, of one training, and no id twice. It is
    written as a merge is, beside its place, and has its name only when it is whole.

    Args:
        root: Of all shards.
        quantizer_bytes: The category's empty trained index.
        parts: At least one, each with rows to take.
        since: First day whose rows it holds.
        until: Last day whose rows it holds; it lies under this date.
        attempt: Of the task, >= 1.
        builder: Version of funnelgate.

    Raises:
        ContractViolation: A clause is broken; the message names shard and field, and nothing was written.
        DataError: A file is missing, or ids to keep do not rise.
        StoreError: The disk refused.
    """
    newest = parts[-1].manifest
    try:
        make_folder(root)
        work = Path(tempfile.mkdtemp(prefix=UNFINISHED, dir=root))
    except OSError as error:
        raise StoreError(f"{root}: cannot be written: {error.strerror or error}; free the disk, then repeat") from error
    try:
        file = work / INDEX
        merged = merge_to(file, quantizer_bytes, parts, category=newest.category, space_id=newest.space_id)
        index = open_file(file)
        manifest = ShardManifest(
            category=newest.category,
            date=until,
            since=since,
            space_id=newest.space_id,
            fingerprint=merged.fingerprint,
            codec=merged.codec,
            rows=merged.rows,
            dim=merged.dim,
            nlist=merged.nlist,
            sha256=merged.sha256,
            id_blocks=id_blocks(stored_ids(index)),
            rows_sha256=stored_rows_sha256(index),
            attempt=attempt,
            builder=builder,
        )
        return write_shard(root, file, manifest)
    finally:
        shutil.rmtree(work, ignore_errors=True)
