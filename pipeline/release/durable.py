"""Writes that survive a crash: a finished, flushed file first, then one atomic step that makes it visible.

Every module of this folder writes through here, so that the fault list of a crash test is short: write, flush, link
or rename, flush the folder. A file system with hard links, atomic rename and flock is needed (local, NFSv4).
"""

from __future__ import annotations

import fcntl
import os
import platform
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock file, made if missing; the kernel frees it when its holder dies.

    Raises:
        OSError: The file cannot be made or locked.
    """
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def temporary_beside(path: Path) -> Path:
    """Return a name in the same folder that only this thread of this process writes; it starts with a dot."""
    return path.parent / f".{platform.node()}-{os.getpid()}-{threading.get_ident()}.tmp"


def write_temporary(path: Path, data: bytes) -> Path:
    """Write and flush a file that nobody reads yet; the remains of a dead attempt are overwritten.

    Returns:
        `path`.
    """
    with path.open("wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())
    return path


def create_once(path: Path, data: bytes) -> bool:
    """Write a file whole under a name that nobody has yet (a hard link of a finished file); False: it is taken.

    The folder's entry is not flushed: see `flush_folder`.
    """
    written = write_temporary(temporary_beside(path), data)
    try:
        os.link(written, path)
    except FileExistsError:
        return False
    finally:
        written.unlink()
    return True


def replace_by(path: Path, data: bytes) -> None:
    """Put a file in the place of another by one rename, and flush the folder: readers see the old or the new one.

    Its writers must exclude each other: all of them use the same temporary name, so that a crash leaves one at most.
    """
    write_temporary(path.with_name(f".{path.name}.tmp"), data).replace(path)
    flush_folder(path.parent)


def make_folder(folder: Path) -> None:
    """Make a folder and its parents, and flush the entry of each that was not there."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    flush_folder(folder.parent)


def flush_folder(folder: Path) -> None:
    """Flush a folder's entries, without which a link or a rename may be lost in a power cut."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
