"""Whether indexes are what they say: bytes, counts, ids, training, and whether shards could be merged."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from pipeline.index.anatomy import empty_of, file_sha256, scan_ids
from pipeline.index.contract import check_contract
from pipeline.index.lists import RowsDigest, is_in
from pipeline.index.merge import merge_digest
from pipeline.index.opened import OpenIndex, open_file
from pipeline.index.part import ShardPart
from pipeline.index.quantizer import codec_of, fingerprint
from pipeline.index.row_changes import list_rows
from pipeline.index.shard import ShardManifest, stored_ids, stored_rows_sha256
from pipeline.index.shard_folder import ShardFolder
from pipeline.index.violations import Violation, differing
from reporting.errors import ContractViolation

_NO_ROWS = hashlib.sha256().hexdigest()


class Verified(BaseModel):
    """What was found.

    Attributes:
        rows: Rows of everything together.
        duplicates: Ids that occur more than once; of shards of one release or merge together 0 is demanded.
        fingerprint: Of the training; None where it differs or cannot be read.
        sha256: Of the index: of one file its own, of several shards that of the index they merge into; None where they
            cannot be merged.
        violations: What is broken, by shard (or file) and field.
    """

    model_config = ConfigDict(frozen=True)

    rows: int
    duplicates: int
    fingerprint: str | None
    sha256: str | None
    violations: tuple[dict[str, str], ...]


def verify_shards(shards: Sequence[ShardFolder], quantizer: bytes | None = None) -> Verified:
    """Verify shards together: each by its manifest, and all by the contract of a merge.

    Args:
        shards: At least one.
        quantizer: The empty trained index that all must be built on; None: see `common_quantizer`.

    Raises:
        DataError: A shard's file is missing.
    """
    first = shards[0].manifest
    parts = [ShardPart(one.manifest, one.index, None) for one in shards]
    trained, broken = _trained(shards) if quantizer is None else (quantizer, [])
    if trained is None:
        return _refused(None, broken)
    found = check_contract(trained, parts, category=first.category, space_id=first.space_id)
    unreadable = {one.shard for one in found if one.field in ("sha256", "index")}
    opened = [open_file(one.index) for one in shards if one.manifest.name not in unreadable]
    ids = np.concatenate([np.zeros(0, np.int64), *(stored_ids(index) for index in opened)])
    trainings = {fingerprint(index.index) for index in opened}
    noted = [one.manifest for one in shards if one.manifest.name not in unreadable]
    found += [violation for one in zip(noted, opened, strict=True) for violation in _other_rows(*one)]
    sha256 = None
    if not found:
        sha256 = first.sha256 if len(shards) == 1 else _merged_sha256(trained, parts)
    return Verified(
        rows=len(ids),
        duplicates=duplicates_of(ids),
        fingerprint=trainings.pop() if len(trainings) == 1 else None,
        sha256=sha256,
        violations=tuple(one.as_json() for one in found),
    )


def verify_file(path: Path, *, name: str | None = None, claims: dict[str, Any] | None = None) -> Verified:
    """Verify an index file by itself, and by what is claimed of it.

    Args:
        path: The file.
        name: How violations call it; None: the path.
        claims: Any of `sha256`, `rows`, `fingerprint`, `codec` as they must be.

    Raises:
        DataError: There is no such file, or faiss cannot read it though its sha256 is right or unknown.
    """
    name, claims = name or str(path), claims or {}
    sha256 = file_sha256(path)
    wrong = differing(name, {"sha256": (sha256, claims.get("sha256", sha256))})
    if wrong:
        return _refused(sha256, wrong)
    index = open_file(path)
    return _verified(index, name, sha256, claims)


def _verified(index: OpenIndex, name: str, sha256: str, claims: dict[str, Any]) -> Verified:
    ids, _, is_canonical = scan_ids(index)
    twice = duplicates_of(ids)
    trained = fingerprint(index.index)
    facts: dict[str, object] = {"rows": len(ids), "fingerprint": trained, "codec": codec_of(index.index)}
    fields = {field: (fact, claims.get(field, fact)) for field, fact in facts.items()}
    found = differing(
        name,
        {
            **fields,
            "count": (int(index.ivf.ntotal), len(ids)),
            "duplicates": (twice, 0),
            "negative ids": (int((ids < 0).sum()), 0),
        },
    )
    if not is_canonical and not twice:
        found.append(
            Violation(name, "order", "a list that does not rise by id", "rising lists: equal content, equal bytes")
        )
    return Verified(
        rows=len(ids),
        duplicates=twice,
        fingerprint=trained,
        sha256=sha256,
        violations=tuple(one.as_json() for one in found),
    )


def verify_days(
    index: OpenIndex, ids: Mapping[dt.date, NDArray[np.int64]], days: Mapping[dt.date, tuple[int, str]], name: str
) -> list[Violation]:
    """Compare what each day gave to a merged index with what the index holds of it, list by list.

    Args:
        index: The merged index; one list of it is held at a time, and the ids of the item table.
        ids: By day the ids that its item table lists, each (n,) int64 in any order; of an id of two days the first.
        days: By day the rows taken from its shard, and their `rows_sha256`.
        name: How violations call the index.

    Returns:
        A violation for each day whose rows are other ones, and one where the index holds rows of no day.
    """
    every = sorted({*ids, *days})
    listed = [np.unique(ids.get(day, np.zeros(0, np.int64))) for day in every]
    known = np.concatenate([np.zeros(0, np.int64), *listed])
    order = np.argsort(known, kind="stable")
    known, owner = known[order], np.repeat(np.arange(len(every)), [len(some) for some in listed])[order]
    digests, counts, strangers = [RowsDigest() for _ in every], np.zeros(len(every), np.int64), 0
    for number in range(index.nlist):
        held, codes = list_rows(index, number)
        mine = is_in(held, known)
        strangers += int((~mine).sum())
        held, codes = held[mine], codes[mine]
        of = owner[np.searchsorted(known, held)]
        for day in np.unique(of).tolist():
            digests[day].add(number, held[of == day], codes[of == day])
            counts[day] += int((of == day).sum())
    found: list[Violation] = []
    for place, day in enumerate(every):
        count, sha256 = days.get(day, (0, _NO_ROWS))
        fields = {"rows": (int(counts[place]), count), "rows_sha256": (digests[place].hexdigest(), sha256)}
        found += differing(f"{name}, {day}", fields)
    if strangers:
        found.append(Violation(name, "rows", f"{strangers} that the item table does not list", "rows it lists"))
    return found


def _refused(sha256: str | None, found: Sequence[Violation]) -> Verified:
    """Return what is told of bytes that faiss was not given."""
    violations = tuple(one.as_json() for one in found)
    return Verified(rows=0, duplicates=0, fingerprint=None, sha256=sha256, violations=violations)


def _other_rows(manifest: ShardManifest, index: OpenIndex) -> list[Violation]:
    """Compare a shard's rows with the hash that its manifest notes of them, if it does."""
    if manifest.rows_sha256 is None:
        return []
    return differing(manifest.name, {"rows_sha256": (stored_rows_sha256(index), manifest.rows_sha256)})


def common_quantizer(shards: Sequence[ShardFolder]) -> bytes:
    """Return the empty trained index that most of the shards claim to be built on, the earliest of equally many.

    Raises:
        ContractViolation: None of those holds the bytes that its manifest says; faiss has read none of them then.
    """
    trained, broken = _trained(shards)
    if trained is None:
        raise ContractViolation(f"{'; '.join(map(str, broken))}; restore these shards from a copy, or build them again")
    return trained


def _trained(shards: Sequence[ShardFolder]) -> tuple[bytes | None, list[Violation]]:
    """Return what `common_quantizer` returns, or None with what is wrong with each shard that could give it."""
    counts = Counter(one.manifest.fingerprint for one in shards)
    chosen = max(counts, key=lambda fingerprint: counts[fingerprint])
    broken: list[Violation] = []
    for shard in shards:
        if shard.manifest.fingerprint == chosen:
            wrong = differing(shard.manifest.name, {"sha256": (file_sha256(shard.index), shard.manifest.sha256)})
            if not wrong:
                return empty_of(open_file(shard.index)), []
            broken += wrong
    return None, broken


def duplicates_of(ids: NDArray[np.int64]) -> int:
    """Count the rows whose id another row has already."""
    return len(ids) - len(np.unique(ids))


def _merged_sha256(quantizer: bytes, parts: Sequence[ShardPart]) -> str:
    first = parts[0].manifest
    return merge_digest(quantizer, parts, category=first.category, space_id=first.space_id).sha256
