"""Reading one picture from a file: regular files only, within the size limit."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from urllib.parse import unquote, urlsplit

from pipeline.fetch.outcome import Absence, Body, Fault, raise_for_shortage
from pipeline.fetch.policy import FetchPolicy, Reason

# O_NONBLOCK: a FIFO put in the file's place after the check must not block the thread for ever.
_OPEN_FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY

_REASONS: dict[int | None, Reason] = {
    errno.ENOENT: "dead_link",
    errno.ENOTDIR: "dead_link",
    errno.ENAMETOOLONG: "dead_link",
    errno.EACCES: "no_permission",
    errno.EPERM: "no_permission",
    errno.ELOOP: "refused_address",
    errno.EISDIR: "refused_address",
    errno.ENXIO: "refused_address",
}


def file_url_path(url: str) -> str | Fault:
    """Return the path of a `file://` URL, or why it has none on this machine."""
    parts = urlsplit(url)
    if parts.netloc not in ("", "localhost"):
        return Fault("refused_address", "a file URL of another host")
    return unquote(parts.path)


def read_file(location: str, policy: FetchPolicy, *, is_from_url: bool, first_bytes: int | None = None) -> Body | Fault:
    """Read a file; blocking, meant for a thread.

    Args:
        location: A path as the manifest gives it (absolute, or relative to the working folder).
        policy: `max_bytes` and `allowed_file_roots`.
        is_from_url: The path comes from a `file://` URL, which only `allowed_file_roots` can permit.
        first_bytes: Read no more than so many from the beginning; None: all.

    Raises:
        StoreError: This machine has no file descriptors left.
    """
    roots = policy.allowed_file_roots
    if roots is None and is_from_url:
        return Fault("refused_address", "file URLs are refused unless allowed_file_roots names their folder")
    try:
        path = location if roots is None else os.path.realpath(location, strict=True)
        if roots is not None and not any(Path(path).is_relative_to(root.resolve()) for root in roots):
            return Fault("refused_address", "the file lies outside allowed_file_roots")
        # Looked at before opening, since opening a device can act on it; the open file is looked at again.
        return _unfit(Path(path).stat(), policy) or _read_opened(path, policy, first_bytes)
    except ValueError as error:
        return Fault("dead_link", f"not a path: {error}")
    except OSError as error:
        raise_for_shortage(error)
        reason = _REASONS.get(error.errno)
        said = error.strerror or str(error)
        return Fault(reason or "server_error", said, is_passing=reason is None, absence=_absence(error, location))


def _absence(error: OSError, location: str) -> Absence | None:
    """Say whether the file is gone; without its folder it may only be a disk that is not mounted."""
    return "gone" if error.errno == errno.ENOENT and Path(location).parent.is_dir() else None


def _unfit(status: os.stat_result, policy: FetchPolicy) -> Fault | None:
    if not stat.S_ISREG(status.st_mode):
        return Fault("refused_address", f"not a regular file (mode {stat.filemode(status.st_mode)})")
    if status.st_size > policy.max_bytes:
        return Fault("too_large", f"{status.st_size} bytes; at most {policy.max_bytes}")
    return None


def _read_opened(path: str, policy: FetchPolicy, first_bytes: int | None) -> Body | Fault:
    with open(path, "rb", opener=lambda name, _: os.open(name, _OPEN_FLAGS)) as stream:
        status = os.fstat(stream.fileno())
        fault = _unfit(status, policy)
        if fault:
            return fault
        if first_bytes is not None:
            return Body(stream.read(first_bytes))
        # Special file systems say size 0; 64 KiB shows whether there is something.
        data = stream.read(min(max(status.st_size, 65_536), policy.max_bytes) + 1)
    if len(data) > policy.max_bytes:
        return Fault("too_large", f"more than {policy.max_bytes} bytes")
    return Body(data)
