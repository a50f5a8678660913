"""From a candidate that may go out to a release that can: its indexes written, its golden queries answered.

A candidate is searched virtually, over mapped shards. Here the very bytes whose hash was judged are streamed into the
content store, so that they lie there whole or not at all; what is there already is not written again.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import BinaryIO, cast

from pipeline.index.stream import write_canonical
from pipeline.models.registered import GALLERY, MODEL, reference
from pipeline.release.golden import check_golden, golden_of
from pipeline.release.manifest import CategoryIndex, ReleaseDraft, ResourceRef
from pipeline.release.objects import ObjectStore
from pipeline.release.publishing import NONE
from pipeline.serve.front import OpenFront
from pipeline.serve.generation import Generation
from pipeline.shards import parts_of
from pipeline.tasks.candidate import Candidate
from reporting.errors import ContractViolation


def draft_of(
    candidate: Candidate, *, created_at: datetime, progress: Callable[[str], None] = lambda _: None
) -> ReleaseDraft:
    """Write what a candidate's release is made of, and put the release together.

    Args:
        candidate: The judged indexes; every category's index is written.
        created_at: Now, aware.
        progress: Told each category before its index is written.

    Returns:
        A draft without verdict: `publish_release` asks for one.

    Raises:
        ContractViolation: the shards no longer give the bytes that were judged, or the written indexes answer
            otherwise than the virtual ones.
        DataError: a shard or the item table is missing.
        StoreError: the disk refuses.
    """
    objects = ObjectStore(candidate.lake.folder())
    golden = golden_of(_generation(candidate))
    for category, entry in sorted(candidate.entries.items()):
        if not objects.renew(entry.index_sha256):
            progress(category)
            _write(candidate, objects, category, entry)
    differing = check_golden(_generation(candidate), golden)
    if differing:
        raise ContractViolation(
            f"the indexes written for {candidate.date} answer otherwise than the judged ones: "
            f"{'; '.join(differing[:5])}; a shard was changed under them: re-run index for that day"
        )
    sha256 = objects.put_bytes(golden)
    return ReleaseDraft(
        created_at=created_at,
        date=candidate.date,
        planid=candidate.planid,
        verdict_id=NONE,
        categories=candidate.entries,
        front=candidate.front,
        ranking=candidate.ranking,
        golden_path=objects.relative(sha256),
        golden_sha256=sha256,
        resources=_resources(candidate),
    )


def _resources(candidate: Candidate) -> tuple[ResourceRef, ...]:
    """Return what of the version registry the candidate is answered with; what is shipped needs no registry."""
    labels = {(MODEL, entry.model) for entry in candidate.entries.values()}
    front = candidate.front
    if front is not None:
        labels.add((MODEL, front.detector))
    if front is not None and front.gallery is not None:
        labels.add((GALLERY, front.gallery))
        opened = OpenFront(front).embedder
        labels |= set() if opened is None else {(MODEL, str(opened.ref))}
    found = (reference(*label) for label in sorted(labels))
    return tuple(ref for ref in found if ref is not None)


def _write(candidate: Candidate, objects: ObjectStore, category: str, entry: CategoryIndex) -> None:
    quantizer, parts = parts_of(candidate.lake, category, entry)
    with objects.create(expected=entry.index_sha256) as out:
        write_canonical(quantizer, parts, cast(BinaryIO, out))


def _generation(candidate: Candidate) -> Generation:
    """Open anew what lies there now: virtual before the indexes are written, the files afterwards."""
    return Generation(candidate.lake, candidate.entries, candidate.front, candidate.ranking)
