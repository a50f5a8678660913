"""Pages and numbers for people: each file whole, or as it was."""

from __future__ import annotations

from pathlib import Path

from reporting.errors import StoreError


def replace_text(path: Path, text: str, remedy: str) -> None:
    """Write a file as a whole, or leave what was there.

    Args:
        path: Where to; folders that are missing are made.
        text: All of it.
        remedy: What a person can do where the disk refuses, for the message.

    Raises:
        StoreError: The disk refuses.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        raise StoreError(f"{path}: cannot be written: {error.strerror or error}; {remedy}") from error
