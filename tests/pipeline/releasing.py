"""Releases made of small made-up files in the content store: nothing here is an index, only bytes with a hash."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Mapping
from pathlib import Path

from pipeline.release.manifest import CategoryIndex, DayRows, ReleaseDraft, ReleaseManifest, ResourceRef, Waiver
from pipeline.release.objects import ObjectStore
from pipeline.release.pointer import publish
from pipeline.release.registry import publish_resource
from pipeline.release.resources import Resource

NOW = dt.datetime(2026, 11, 23, 9, 0, tzinfo=dt.UTC)
DAY = dt.date(2026, 11, 22)
WAIVED = Waiver(by="ana", why="a test needs one", at=NOW, instead_of="no verdict")


def sha_of(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def entry(root: Path, text: str, *, days: Mapping[dt.date, tuple[int, str]] | None = None) -> CategoryIndex:
    """Store an index and an item table that are just text; days are (rows, what their hash is made of)."""
    store = ObjectStore(root)
    index, items = (store.put_bytes(f"{kind} {text}".encode() * 50) for kind in ("index", "items"))
    parts = {
        day: DayRows(shard_path=f"shards/s/c/{day}/{sha_of(seed)[:16]}", shard_sha256=sha_of(seed), rows=rows,
                     rows_sha256=sha_of(seed))
        for day, (rows, seed) in (days or {}).items()
    }  # fmt: skip
    return CategoryIndex(
        model="lite0@1",
        space_id="lite0",
        index_path=store.relative(index),
        index_sha256=index,
        index_bytes=len(f"index {text}") * 50,
        items_path=store.relative(items),
        items_sha256=items,
        rows=sum(part.rows for part in parts.values()) if parts else 7,
        nprobe=4,
        days=parts,
    )


def draft(
    root: Path,
    text: str,
    *,
    resources: tuple[ResourceRef, ...] = (),
    days: Mapping[dt.date, tuple[int, str]] | None = None,
) -> ReleaseDraft:
    """Store the files of a release of one category and draft it."""
    return ReleaseDraft(
        created_at=NOW,
        date=DAY,
        planid=f"plan-{text}",
        verdict_id="v",
        categories={"shoes": entry(root, text, days=days)},
        resources=resources,
    )


def released(root: Path, text: str, *, resources: tuple[ResourceRef, ...] = ()) -> ReleaseManifest:
    """Publish a release whose files are made of a text."""
    return publish(root, draft(root, text, resources=resources))


def model(root: Path, text: str, *, channel: str = "stable", name: str = "lite0") -> Resource:
    """Publish two small files as the next version of a model."""
    folder = root.parent / f"{root.name}-{name}-{text}"
    (folder / "deep").mkdir(parents=True, exist_ok=True)
    (folder / "model.onnx").write_bytes(f"weights {text}".encode() * 20)
    (folder / "deep" / "spec.json").write_text(f'"{text}"')
    return publish_resource(root, "model", name, folder, at=NOW, channel=channel, waiver=WAIVED)


def files_under(root: Path) -> dict[str, bytes]:
    """Return the content of every file, by path."""
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}
