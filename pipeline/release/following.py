"""What every consumer does, of releases as of resources: which pointer may be followed, and how it is made one's own.

`SEEN` beside the pointer holds the highest number ever followed, so that a publisher's root that was set back, by
accident or by an attacker, is noticed (TUF's rollback attack): a rollback is a higher number on old content.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from pipeline.release.durable import create_once, flush_folder, make_folder, replace_by
from pipeline.release.fetching import Source
from pipeline.release.numbered import M, Pointer, Series, bytes_of, parse_pointer
from pipeline.release.resources import Resource
from pipeline.release.signing import require_signature
from reporting.errors import ContractViolation, StoreError

SEEN = ".seen"
_LOG = logging.getLogger("funnelgate.release")


@dataclass(frozen=True)
class Followed:
    """A pointer that may be followed.

    Attributes:
        pointer: What it says.
        data: Its bytes, which become the home's own.
    """

    pointer: Pointer
    data: bytes


def next_pointer(
    source: Source, here: Series[M], path: str, name: str, public_key: Path | None, now: datetime
) -> Followed | None:
    """Return the publisher's pointer, None where nothing was ever published.

    Args:
        source: The publisher's root.
        here: The home's run of numbers.
        path: Of the pointer, relative to the source.
        name: Of the pointer in the run.
        public_key: Whose signature it must have; None: none.
        now: Against which an expiry counts.

    Raises:
        ContractViolation: It is gone, is none, lacks the signature, expired, or goes back.
        StoreError: The source cannot be reached, or nothing of what was there is there any more.
    """
    data, where = source.small(path), source.where(path)
    if data is None:
        before = here.pointer(name)
        if before is not None:
            manifest = here.manifest_path(before.number).relative_to(here.root).as_posix()
            source.require_filled([path.removesuffix(name) + manifest])
            raise ContractViolation(f"{where}: is gone, and was there; publish again or restore it")
        return None
    try:
        pointer = parse_pointer(data, where, here.what)
    except StoreError as error:
        raise accepted(error) from error
    if public_key is not None:
        require_signature(pointer, f"{here.scope} {name}", public_key, now, where)
    seen = _seen(here, name)
    if seen is not None and pointer.number <= seen.number and (pointer.number, pointer.sha256) != _facts(seen):
        raise ContractViolation(
            f"{where}: names {here.what} {pointer.number} ({pointer.sha256[:12]}) after {seen.number}"
            f" ({seen.sha256[:12]}) was seen: numbers only rise, and a rollback is a new number; restore the"
            " publisher's pointer. What was pulled before goes on serving"
        )
    return Followed(pointer, data)


def _facts(pointer: Pointer) -> tuple[int, str]:
    return (pointer.number, pointer.sha256)


def _seen(here: Series[M], name: str) -> Pointer | None:
    path = _seen_path(here, name)
    try:
        return parse_pointer(path.read_bytes(), str(path), here.what)
    except FileNotFoundError:
        return None


def _seen_path(here: Series[M], name: str) -> Path:
    pointer = here.root / name
    return pointer.with_name(f"{SEEN}-{pointer.name}")


def manifest_of(source: Source, here: Series[M], path: str, number: int, sha256: str | None) -> tuple[M, bytes]:
    """Bring a manifest and return it with its bytes.

    Raises:
        ContractViolation: It is not there, none, or not the one its pointer names.
        StoreError: The source cannot be reached.
    """
    data, where = source.small(path), source.where(path)
    if data is None:
        raise ContractViolation(f"{where}: {here.what} {number} is named and is not there; publish it again")
    try:
        return here.parse(data, number, sha256, where), data
    except StoreError as error:
        raise accepted(error) from error


def accepted(error: StoreError) -> ContractViolation:
    """Return a complaint about a file as a refusal: it came from elsewhere, and nothing of ours broke."""
    return ContractViolation(f"{error}; what was pulled before goes on serving")


def fetch_objects(source: Source, resource: Resource, home: Path, got: Callable[[int], None]) -> int:
    """Bring the files of a resource; return the bytes transferred. Errors as `Source.fetch`."""
    sizes = {one.sha256: one.bytes for one in resource.files}
    wanted = sorted(resource.objects().items())
    return sum(source.fetch(path, sha256, home, size=sizes[sha256], got=got) for path, sha256 in wanted)


def keep_manifest(here: Series[M], number: int, data: bytes) -> None:
    """Put a verified manifest in its place in the home; a damaged one there gives way.

    Raises:
        OSError: The disk refused.
    """
    path = here.manifest_path(number)
    make_folder(path.parent)
    if not create_once(path, data) and _differs(path, data):
        replace_by(path, data)
    flush_folder(path.parent)


def heal(source: Source, here: Series[M], at: str, known: Mapping[int, str], *, only_known: bool) -> None:
    """Bring each damaged manifest of a home anew; one that cannot be had is set aside under a name with a dot.

    Args:
        source: The publisher's root, which has just answered.
        here: The home's run of numbers.
        at: Folder of the manifests, relative to the source.
        known: sha256 of manifests that were verified when they came, by number.
        only_known: Take none whose sha256 is not known: what is not signed could be anybody's.

    Raises:
        StoreError: The source cannot be reached.
        OSError: The disk refused.
    """
    for number in here.numbers():
        try:
            here.read(number, known.get(number))
            continue
        except StoreError as damaged:
            _LOG.warning("%s; it is pulled again", damaged)
        path = here.manifest_path(number)
        try:
            if only_known and number not in known:
                raise ContractViolation(f"{path}: is damaged, and what it should be is not known")
            _, data = manifest_of(source, here, f"{at}{path.name}", number, known.get(number))
            keep_manifest(here, number, data)
        except ContractViolation as refused:
            _LOG.warning("%s: set aside as .damaged-%s: %s", path, path.name, refused)
            path.rename(path.with_name(f".damaged-{path.name}"))


def pointed(here: Series[M], names: Iterable[str]) -> dict[int, str]:
    """Return the sha256 of each manifest that a readable pointer of the home names, by number."""
    found: dict[int, str] = {}
    for name in names:
        try:
            pointer = here.pointer(name)
        except StoreError:  # the next pull writes it anew
            continue
        found |= {} if pointer is None else {pointer.number: pointer.sha256}
    return found


def _differs(path: Path, data: bytes) -> bool:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").digest() != hashlib.sha256(data).digest()


def adopt(here: Series[M], name: str, followed: Followed, manifest: bytes) -> None:
    """Make what was fetched current in the home, by one rename; everything it names is there by now.

    The highest number seen is noted first: whatever dies in between, the next poll takes the same release up again.

    Raises:
        OSError: The disk refused.
    """
    keep_manifest(here, followed.pointer.number, manifest)
    make_folder((here.root / name).parent)
    replace_by(_seen_path(here, name), bytes_of(followed.pointer, exclude_none=True))
    replace_by(here.root / name, followed.data)
