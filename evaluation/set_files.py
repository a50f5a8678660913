"""A set on disk: the folder `NAME@SHA12`, written once, whole or not at all, and proven when it is read.

It holds queries.parquet, labels.parquet, catalog.parquet, gallery.json and evalset.json (the hashes of the others, and
what was found at building: counts, slices, power, contamination). Pictures stay where they are.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from evaluation.catalog import CatalogImage, Role
from evaluation.evalset import EvalSet, Gallery, Label, Query
from evaluation.set_content import evalset_of
from evaluation.set_parquet import rows_of, table_bytes
from evaluation.set_report import report_of
from evaluation.validators import require_valid
from reporting.errors import DataError, StoreError
from reporting.segments import sync_folder

MANIFEST: Final = "evalset.json"
_TABLES: Final = ("queries.parquet", "labels.parquet", "catalog.parquet")
_GALLERY: Final = "gallery.json"
_SCHEMA: Final = "evalset/1"
_OWN_HASH: Final = "manifest_sha256"


def is_set(folder: Path) -> bool:
    """Say whether a folder is a set (whether a good one, `load_set` finds out)."""
    return (folder / MANIFEST).is_file()


def write_set(evalset: EvalSet, parent: Path) -> Path:
    """Write a set as `parent/NAME@SHA12`. A set that is there already stays as it is.

    The folder appears by one rename, after all of it is on disk: whoever is killed before leaves only a hidden
    `.NAME@SHA12.*.partial`, which nobody reads and the next writer of the set clears away.

    Returns:
        The folder.

    Raises:
        DataError: The set has a fault (see validators.py), or what lies there under its name is not this set.
        StoreError: The disk is full, read-only or gone.
    """
    require_valid(evalset)
    folder = parent / evalset.set_id
    if folder.exists():
        _same(evalset, folder)
        return folder
    files = _files_of(evalset)
    try:
        parent.mkdir(parents=True, exist_ok=True)
        _clear_partials(parent, evalset.set_id)
        _appear(folder, files)
    except OSError as error:
        if folder.exists():  # another writer was faster
            _same(evalset, folder)
            return folder
        raise StoreError(f"{folder}: cannot be written: {error.strerror or error}; nothing is left there") from error
    return folder


def load_set(path: Path, *, root: Path | None = None) -> EvalSet:
    """Read a set and prove that it is what was built.

    Args:
        path: The folder.
        root: Where its pictures lie now; None: where they lay when it was built (None, if that is gone).

    Raises:
        DataError: No set, of another schema, changed since (a file's hash, the content's or the folder's name is not
            the one on record), or a row is wrong.
    """
    manifest = _manifest(path)
    data = {name: _read(path, name) for name in (*_TABLES, _GALLERY)}
    for name, content in data.items():
        if hashlib.sha256(content).hexdigest() != manifest["files"].get(name):
            raise _changed(path / name, "its sha256 is not the one in evalset.json")
    gallery = _gallery_of(path / _GALLERY, data[_GALLERY])
    queries = rows_of(Query, data["queries.parquet"], f"{path / 'queries.parquet'}")
    labels = rows_of(Label, data["labels.parquet"], f"{path / 'labels.parquet'}")
    catalog = rows_of(CatalogImage, data["catalog.parquet"], f"{path / 'catalog.parquet'}")
    if not queries:
        raise DataError(f"{path}: holds no query; an empty set proves nothing")
    if root is None and manifest["root"] is not None and Path(manifest["root"]).is_dir():
        root = Path(manifest["root"])
    found = evalset_of(manifest["name"], queries, labels, catalog, gallery, root=root)
    if found.sha256 != manifest["sha256"]:
        raise _changed(path, f"its content has sha256 {found.sha256[:12]}..., not {manifest['sha256'][:12]}...")
    if path.resolve().name != found.set_id:
        raise _changed(path, f"it is {found.set_id} by name and content, but its folder is called otherwise")
    return found


def _changed(place: Path, why: str) -> DataError:
    return DataError(f"{place}: the set was changed after it was built: {why}; restore the folder or build a new set")


def _same(evalset: EvalSet, folder: Path) -> None:
    """Refuse a folder that holds anything but this set; the twelve digits in its name might be another's, too."""
    if load_set(folder).sha256 != evalset.sha256:
        raise _changed(folder, f"{evalset.set_id} has sha256 {evalset.sha256}")


def _files_of(evalset: EvalSet) -> Mapping[str, bytes]:
    roles = {role: len({one.image_id for one in evalset.catalog if one.role is role}) for role in Role}
    files = {
        "queries.parquet": table_bytes(Query, evalset.queries),
        "labels.parquet": table_bytes(Label, evalset.labels),
        "catalog.parquet": table_bytes(CatalogImage, evalset.catalog),
    }
    files[_GALLERY] = _json(
        {
            "schema": "gallery/1",
            "gallery": evalset.gallery.model_dump(mode="json"),
            "catalog": {
                "sha256": hashlib.sha256(files["catalog.parquet"]).hexdigest(),
                "images": sum(roles.values()),
                "groups": len({one.group_id for one in evalset.catalog}),
                **{role.value: count for role, count in roles.items()},
            },
        }
    )
    manifest = {
        "schema": _SCHEMA,
        "name": evalset.name,
        "sha256": evalset.sha256,
        "files": {name: hashlib.sha256(data).hexdigest() for name, data in files.items()},
        "root": None if evalset.root is None else str(evalset.root.resolve()),
        **report_of(evalset).model_dump(mode="json", exclude={"set_id"}),
    }
    return {**files, MANIFEST: _json({**manifest, _OWN_HASH: _own_hash(manifest)})}


def _own_hash(manifest: Mapping[str, object]) -> str:
    """Return the hash by which the manifest proves itself: what a set proves is read there by people."""
    return hashlib.sha256(_json({key: value for key, value in manifest.items() if key != _OWN_HASH})).hexdigest()


def _json(value: object) -> bytes:
    return (json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()


def _manifest(path: Path) -> dict[str, Any]:
    if not is_set(path):
        raise DataError(f"{path}: is no evaluation set, it holds no {MANIFEST}; build one by `evaluate build-set`")
    try:
        manifest = json.loads(_read(path, MANIFEST))
    except ValueError as error:
        raise _changed(path / MANIFEST, f"it is no JSON ({error})") from error
    schema = manifest.get("schema") if isinstance(manifest, dict) else None
    if schema != _SCHEMA:
        raise DataError(
            f"{path / MANIFEST}: schema is {schema!r}; expected {_SCHEMA!r}; build the set with this version"
        )
    if not isinstance(manifest.get("files"), dict) or not {"name", "sha256", "root"} <= manifest.keys():
        raise _changed(path / MANIFEST, "it lacks name, sha256, files or root")
    if manifest.get(_OWN_HASH) != _own_hash(manifest):
        raise _changed(path / MANIFEST, f"its own hash is not {_OWN_HASH}")
    return dict(manifest)


def _gallery_of(place: Path, data: bytes) -> Gallery:
    try:
        return Gallery.model_validate(json.loads(data)["gallery"])
    except (ValueError, KeyError, TypeError, ValidationError) as error:
        raise _changed(place, f"it describes no gallery ({error})") from error


def _read(folder: Path, name: str) -> bytes:
    try:
        return (folder / name).read_bytes()
    except OSError as error:
        raise DataError(
            f"{folder / name}: cannot be read: {error.strerror}; restore it or build the set again"
        ) from error


def _appear(folder: Path, files: Mapping[str, bytes]) -> None:
    """Let a folder with these files appear by one rename.

    Raises:
        OSError: It could not be written or is there already; nothing of it is left.
    """
    partial = folder.parent / f".{folder.name}.{secrets.token_hex(6)}.partial"
    partial.mkdir()
    handle = os.open(partial, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)  # tells the living from the dead to _clear_partials
        for name, data in files.items():
            with (partial / name).open("xb") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
        os.fsync(handle)
        partial.rename(folder)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    finally:
        os.close(handle)
    sync_folder(folder.parent)


def _clear_partials(parent: Path, set_id: str) -> None:
    """Remove what writers of this set left that were killed: those whose lock nobody holds."""
    for partial in parent.glob(f".{set_id}.*.partial"):
        try:
            handle = os.open(partial, os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError:  # it has just become the set, or another writer cleared it
            continue
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            continue
        else:
            shutil.rmtree(partial, ignore_errors=True)
        finally:
            os.close(handle)
