"""A consumer of one resource: polls a channel, downloads, verifies, swaps, keeps the last two."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pipeline.release.consumer import LOCK
from pipeline.release.durable import locked, make_folder
from pipeline.release.fetching import Source, drop_parts
from pipeline.release.following import adopt, fetch_objects, manifest_of, next_pointer
from pipeline.release.home import claim_home
from pipeline.release.registry import FOLDER, channel_file, resource_series
from pipeline.release.resources import STABLE, Resource
from pipeline.release.retention import drop_old
from reporting.errors import StoreError


@dataclass(frozen=True)
class ResourceConsumer:
    """Follows a channel of a resource; afterwards `resolve_resource(home, ...)` and `materialise(home, ...)` work.

    Attributes:
        source: The publisher's root: a folder or any fsspec URL.
        home: The consumer's own folder.
        business: Kind of resource.
        name: Its name.
        channel: That is followed.
        keep: Versions kept, >= 2; a home that keeps more of its releases keeps as many versions.
        public_key: As of `Consumer`.
        got: Told of bytes as they arrive.
    """

    source: str
    home: Path
    business: str
    name: str
    channel: str = STABLE
    keep: int = 2
    public_key: Path | None = None
    got: Callable[[int], None] = lambda _: None

    def poll(self, now: datetime | None = None) -> Resource | None:
        """Bring the version that the publisher's channel names if it is not there; None if it is, or there is none.

        Raises:
            ContractViolation: What is published is refused; the home has what it had.
            StoreError: The source cannot be reached, or the disk refused.
            UsageError: The home is the source, or a publisher's lake.
        """
        source = Source(self.source)
        source.require_elsewhere(self.home)
        here, pointer = resource_series(self.home, self.business, self.name), channel_file(self.channel)
        at = f"{FOLDER}/{self.business}/{self.name}"
        try:
            make_folder(self.home)
            with locked(self.home / LOCK):
                kept = max(self.keep, claim_home(self.home).keep or 0)
                moment = now or datetime.now(UTC)
                followed = next_pointer(source, here, f"{at}/{pointer}", pointer, self.public_key, moment)
                if followed is None or self._has_all(followed.pointer.sha256):
                    drop_old(self.home, kept)  # a poll before may have been killed
                    return None
                number = followed.pointer.number
                found, data = manifest_of(source, here, f"{at}/{number:06d}.json", number, followed.pointer.sha256)
                fetch_objects(source, found, self.home, self.got)
                adopt(here, pointer, followed, data)
                drop_parts(self.home)
                drop_old(self.home, kept)
                return found
        except OSError as error:
            raise StoreError(
                f"{self.home}: cannot be written: {error}; free the disk, what is there is unchanged"
            ) from error

    def _has_all(self, sha256: str) -> bool:
        """Tell whether a version is what the channel names here, readable, and none of its files went away."""
        here = resource_series(self.home, self.business, self.name)
        try:
            served = here.pointer(channel_file(self.channel))
            if served is None or served.sha256 != sha256:
                return False
            objects = here.read(served.number, sha256).objects()
        except StoreError:  # pointer or manifest are damaged or not there: they are brought again
            return False
        return all((self.home / path).is_file() for path in objects)
