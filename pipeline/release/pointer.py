"""The releases of the index: `releases/NNNNNN.json` and the one pointer `CURRENT`; see numbered.py for the order."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.release.manifest import ReleaseDraft, ReleaseManifest
from pipeline.release.numbered import Series
from reporting.errors import StoreError

if TYPE_CHECKING:
    from pipeline.release.signing import Signer

POINTER = "CURRENT"
FOLDER = "releases"


def series(root: Path) -> Series[ReleaseManifest]:
    """Return the run of numbers of a lake's or a consumer's releases."""
    return Series(root, ReleaseManifest, "release", FOLDER, "release")


def publish(
    root: Path,
    draft: ReleaseDraft,
    *,
    check: Callable[[], None] = lambda: None,
    signer: Signer | None = None,
) -> ReleaseManifest:
    """Give a draft the next number, write its manifest and make it current.

    Whether it may be published is not asked here: see `pipeline.release.publishing.publish_release`.

    Idempotent: content that is current already (see `ReleaseManifest.has_content_of`) is answered with its
    release, and nothing is written. A manifest that an earlier attempt wrote without reaching the pointer is
    taken up again, so that a resumed task ends with the same number.

    Args:
        root: Folder of the releases, on a file system with hard links and atomic rename; made if missing.
        draft: The release without its number.
        check: Called under the publishers' lock before anything is written; raises what is against it.
        signer: Signs the pointer; None: it is not signed.

    Raises:
        StoreError: The disk refused a write (the pointer is then unchanged or already on the new release,
            never broken), or what is published there cannot be read.
    """
    taken = series(root)

    def resumes(last: ReleaseManifest) -> bool:
        one, other = ((each.verdict_id, each.waiver, each.rollback_to, each.decided) for each in (last, draft))
        return one == other and last.has_content_of(draft)

    try:
        with taken.publishing():
            return taken.publish(
                POINTER,
                same=lambda before: before.has_content_of(draft),
                resumes=resumes,
                build=lambda number, parent: ReleaseManifest(**dict(draft), number=number, parent=parent),
                check=check,
                signer=signer,
            )
    except OSError as error:
        raise StoreError(
            f"{root}: publishing the release of plan {draft.planid} failed: {error}; what was current before"
            " still serves unless the new release is; free the disk or mend its rights and publish again"
        ) from error


def current(root: Path) -> ReleaseManifest | None:
    """Return the current release, or None if nothing was ever published under `root`.

    Raises:
        StoreError: Pointer or manifest are unreadable or do not match; the message names the file.
    """
    return series(root).current(POINTER)


def release_of(root: Path, number: int) -> ReleaseManifest:
    """Return one release by its number.

    Raises:
        StoreError: It is not there or unreadable; the message names the file.
    """
    return series(root).read(number)


def releases(root: Path) -> list[ReleaseManifest]:
    """Return every release, oldest first; also one that a crash left without ever being current.

    Raises:
        StoreError: One is unreadable; the message names the file.
    """
    taken = series(root)
    return [taken.read(number) for number in taken.numbers()]
