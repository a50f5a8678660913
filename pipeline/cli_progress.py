"""Telling on a terminal what a long command is at."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def steps(first: str) -> Iterator[Callable[[str], None]]:
    """Yield what tells each step on a terminal's standard error; elsewhere nothing is told."""
    from rich.console import Console

    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda _: None
        return
    with console.status(first) as status:
        yield status.update
