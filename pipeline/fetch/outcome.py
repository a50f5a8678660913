"""What one look at a place can bring: a body, another place, or a fault."""

from __future__ import annotations

import errno
from dataclasses import dataclass
from typing import Literal, TypeAlias

from pipeline.fetch.policy import Reason
from reporting.errors import StoreError

# Our own machine's limits; booking them as faults of the picture would lose it for good.
_SHORTAGES = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS})


Absence: TypeAlias = Literal[
    "gone",  # said by the one who would know: 404, 410, or no such file in a folder that is there
    "unreachable",  # nobody to ask: the name has no address, or the connection was refused
]


@dataclass(frozen=True, slots=True)
class Body:
    """The complete bytes, at most `max_bytes`; their beginning where only that was asked for."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Redirect:
    """Another URL, absolute, not judged yet."""

    url: str


@dataclass(frozen=True, slots=True)
class Fault:
    """Why there are no bytes.

    Attributes:
        reason: One of the closed list.
        detail: For people; names no query string, which may hold secrets.
        is_passing: Trying again may help.
        retry_after_seconds: The server's wish, at least 0.
        absence: Whether it says that there is nothing at the place any more; None: it says nothing about that.
    """

    reason: Reason
    detail: str
    is_passing: bool = False
    retry_after_seconds: float = 0.0
    absence: Absence | None = None


Outcome: TypeAlias = Body | Redirect | Fault


def raise_for_shortage(error: OSError) -> None:
    """Raise when the error says that this machine, not the picture's, has run out of something.

    Raises:
        StoreError: No file descriptors, memory or socket buffers are left.
    """
    if error.errno in _SHORTAGES:
        raise StoreError(
            f"download: this machine ran out of a resource ({error.strerror}); expected room for "
            "total_connections sockets and files; lower total_connections or raise ulimit -n"
        ) from error
