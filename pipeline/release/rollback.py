"""Going back: old content under a new number, so that consumers, which only follow rising numbers, follow it too."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.release.manifest import Decision, ReleaseDraft, ReleaseManifest
from pipeline.release.pointer import current, publish, release_of
from pipeline.release.retention import require_files
from reporting.errors import UsageError

if TYPE_CHECKING:
    from pipeline.release.signing import Signer


def rollback(
    root: Path, number: int, *, by: str, why: str, at: datetime, signer: Signer | None = None
) -> ReleaseManifest:
    """Publish the content of an earlier release again; no file is copied, so that it takes well under a second.

    The verdict and the waiver it rests on stay with it: what was good enough once is not judged again.

    Args:
        root: Lake root.
        number: The release to go back to.
        by: Who decides.
        why: The reason, at least ten characters.
        at: Now, aware.
        signer: Signs the pointer.

    Raises:
        UsageError: Nothing was released, there is no such release, it is current already, or the reason is too short.
        ContractViolation: A file of it is gone.
        StoreError: The disk refused, or what is published cannot be read.
    """
    draft = going_back(root, number, by=by, why=why, at=at)
    old = release_of(root, number)
    return publish(root, draft, check=lambda: require_files(root, old), signer=signer)


def going_back(root: Path, number: int, *, by: str, why: str, at: datetime) -> ReleaseDraft:
    """Return what a rollback would publish; nothing is written. Errors as `rollback`."""
    served = current(root)
    if served is None:
        raise UsageError(f"{root}: nothing has been released yet; there is nothing to go back to")
    if not 1 <= number <= served.number:
        raise UsageError(f"{root}: there is no release {number} to go back to; expected one from 1 to {served.number}")
    if len(why.strip()) < 10 or not by.strip():
        raise UsageError("--why must say why in at least ten characters, and --by who decides")
    old = release_of(root, number)
    if served.has_content_of(old):
        raise UsageError(
            f"{root}: release {served.number}, the current one, has the content of release {number} already"
        )
    require_files(root, old)
    facts = {name: value for name, value in old if name in ReleaseDraft.model_fields}
    decided = Decision(by=by.strip(), why=why.strip(), at=at)
    return ReleaseDraft(**{**facts, "created_at": at, "rollback_to": number, "decided": decided})
