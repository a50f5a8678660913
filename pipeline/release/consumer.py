"""A consumer: follows a publisher's releases into a home of its own, from which a server serves.

`poll` looks at the pointer and refuses whatever is not what the publisher wrote: unsigned, expired, an older number
than was seen before, damaged, truncated or exchanged files. Until everything is there and verified nothing changes;
then the home's own CURRENT is renamed. A home has the layout of a lake, so `current(home)` and `Lake(home)` just work.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pipeline.release.durable import locked, make_folder
from pipeline.release.fetching import Source, drop_parts
from pipeline.release.following import (
    adopt,
    fetch_objects,
    heal,
    keep_manifest,
    manifest_of,
    next_pointer,
    pointed,
)
from pipeline.release.home import Home, claim_home, mark_home
from pipeline.release.manifest import ReleaseManifest, ResourceRef
from pipeline.release.pointer import FOLDER, POINTER, releases, series
from pipeline.release.registry import businesses, channel_file, channels, resource_names, resource_series
from pipeline.release.resources import Resource
from pipeline.release.retention import drop_old
from pipeline.release.takedowns_pulled import take_withheld
from reporting.errors import ContractViolation, StoreError

LOCK = ".pulling"


@dataclass(frozen=True)
class Pulled:
    """What a poll brought.

    Attributes:
        manifest: The release that is current in the home now.
        files: Files it needs.
        fetched_bytes: Bytes transferred for it; what was there already is not fetched again.
    """

    manifest: ReleaseManifest
    files: int
    fetched_bytes: int


@dataclass(frozen=True)
class Consumer:
    """Follows the releases of one publisher.

    Attributes:
        source: The publisher's root: a folder or any fsspec URL.
        home: The consumer's own folder; never the publisher's.
        keep: Releases kept, >= 2: the one that serves and the one to go back to.
        public_key: PEM file; with it only pointers signed by its other half, and not expired, are followed.
        got: Told of bytes as they arrive, for a progress bar.
    """

    source: str
    home: Path
    keep: int = 2
    public_key: Path | None = None
    got: Callable[[int], None] = lambda _: None

    def poll(self, now: datetime | None = None) -> Pulled | None:
        """Bring the takedowns, and the publisher's current release if it is not current here.

        Args:
            now: Against which an expiry counts, aware; None: now.

        Returns:
            None if nothing new was published.

        Raises:
            ContractViolation: What is published is refused; the message says which file and why. The home serves what
                it served before.
            StoreError: The source cannot be reached, or the disk refused.
            UsageError: The home is the source, or a publisher's lake.
        """
        source = Source(self.source)
        source.require_elsewhere(self.home)
        try:
            make_folder(self.home)
            with locked(self.home / LOCK):
                home = claim_home(self.home).model_copy(
                    update={"keep": self.keep, "signed": self.public_key is not None}
                )
                mark_home(self.home, home)
                take_withheld(source, self.home)
                pulled = self._take_release(source, home, now or datetime.now(UTC))
                drop_old(self.home, self.keep)  # also where nothing is new: a poll before may have been killed
                self._note_manifests(home)
                return pulled
        except OSError as error:
            raise StoreError(
                f"{self.home}: cannot be written: {error}; free the disk, what serves is unchanged"
            ) from error

    def _take_release(self, source: Source, home: Home, now: datetime) -> Pulled | None:
        here = series(self.home)
        followed = next_pointer(source, here, POINTER, POINTER, self.public_key, now)
        if followed is None:
            return None
        self._heal(source, home)
        if self._has_all(followed.pointer.sha256):
            return None
        number, sha256 = followed.pointer.number, followed.pointer.sha256
        manifest, manifest_bytes = manifest_of(source, here, f"{FOLDER}/{number:06d}.json", number, sha256)
        self._require_no_clash(manifest, source)
        files, sizes = manifest.files(), manifest.sizes()
        fetched = sum(
            source.fetch(path, wanted, self.home, size=sizes.get(path), got=self.got)
            for path, wanted in sorted(files.items())
        )
        for ref in manifest.resources:
            resource = self._take_resource(source, ref)
            files |= resource.objects()
            fetched += fetch_objects(source, resource, self.home, self.got)
        adopt(here, POINTER, followed, manifest_bytes)
        drop_parts(self.home)
        return Pulled(manifest, len(files), fetched)

    def _heal(self, source: Source, home: Home) -> None:
        """Bring damaged manifests of the home anew, so that one bad sector does not end all pulling."""
        here = series(self.home)
        known = home.manifests | pointed(here, [POINTER])
        heal(source, here, f"{FOLDER}/", known, only_known=self.public_key is not None)
        for business in businesses(self.home):
            for name in resource_names(self.home, business):
                versions = resource_series(self.home, business, name)
                known = pointed(versions, map(channel_file, channels(self.home, business, name)))
                at = f"{versions.root.relative_to(self.home).as_posix()}/"
                heal(source, versions, at, known, only_known=self.public_key is not None)

    def _note_manifests(self, home: Home) -> None:
        """Note what each manifest that is kept must be, now that it was verified."""
        here = series(self.home)
        known = home.manifests | pointed(here, [POINTER])
        kept = {number: known[number] for number in here.numbers() if number in known}
        mark_home(self.home, home.model_copy(update={"manifests": kept}))

    def _require_no_clash(self, manifest: ReleaseManifest, source: Source) -> None:
        """Refuse a release that gives another content to a path of one that is kept, and may be served, here."""
        wanted = manifest.files()
        for other in releases(self.home):
            held = other.files()
            for path in sorted(wanted.keys() & held.keys()):
                if wanted[path] != held[path] and other.number != manifest.number:
                    raise ContractViolation(
                        f"{source.where(path)}: has sha256 {wanted[path]} in release {manifest.number} and"
                        f" {held[path]} in release {other.number}: a file that is served is never overwritten; publish"
                        " it under a path of its own"
                    )

    def _has_all(self, sha256: str) -> bool:
        """Tell whether a release is current here, whole and readable, and none of its files went away."""
        here = series(self.home)
        try:
            served = here.pointer(POINTER)
            if served is None or served.sha256 != sha256:
                return False
            manifest = here.read(served.number, sha256)
            paths = set(manifest.files())
            for ref in manifest.resources:
                paths |= resource_series(self.home, ref.business, ref.name).read(ref.version).objects().keys()
        except StoreError:  # a manifest is damaged or not there: it is brought again
            return False
        return all((self.home / path).is_file() for path in paths)

    def _take_resource(self, source: Source, ref: ResourceRef) -> Resource:
        """Bring the manifest of a resource that a release needs."""
        here = resource_series(self.home, ref.business, ref.name)
        path = here.manifest_path(ref.version).relative_to(self.home).as_posix()
        resource, data = manifest_of(source, here, path, ref.version, None)
        if resource.ref != ref:
            raise ContractViolation(
                f"{source.where(path)}: is {resource.label} with content {resource.sha256}, the release needs"
                f" {ref.name}@{ref.version} with {ref.sha256}; restore it"
            )
        keep_manifest(here, ref.version, data)
        return resource
