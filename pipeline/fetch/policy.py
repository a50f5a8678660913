"""What a download may cost and reach, and the closed list of reasons why a picture did not arrive."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

Reason: TypeAlias = Literal[
    "dead_link",  # 404, 410, other 4xx, unknown name, connection refused, missing file, endless redirects
    "timeout",  # the deadline of the picture passed
    "too_large",  # more than max_bytes
    "too_many_pixels",  # said by the inspection of the header
    "not_an_image",  # said by the inspection of the content; an empty body
    "server_error",  # 429, 5xx or a broken connection, after all retries
    "refused_address",  # private address, foreign scheme, device, folder, file outside the allowed roots
    "no_permission",  # 401, 403, unreadable file
]

Positive: TypeAlias = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class FetchPolicy(BaseModel):
    """Limits of a download; every default is safe for addresses written by strangers.

    Memory: at most `total_connections` bodies of at most `max_bytes` each are held at a time.

    Attributes:
        timeout_seconds: Deadline of one picture over all its attempts, redirects and back-off; waiting for a
            free connection does not count.
        connect_timeout_seconds: Name resolution excluded; shared among the addresses of a name.
        max_bytes: Largest body accepted. The largest of 50,000 catalogue pictures is rarely over 10 MB.
        max_pixels: Not applied here: for the caller who builds `inspect` from it.
        max_redirects: Hops followed before the link counts as dead.
        per_host_connections: Simultaneous requests to one host name (browsers allow themselves 6).
        total_connections: Simultaneous requests, and open files, in all.
        retries: Further attempts after the first, on 408, 429, 5xx, broken connections and temporary DNS faults.
        backoff_base_seconds: Attempt n waits a random time up to base * 2^(n-1) ("full jitter").
        backoff_cap_seconds: Upper bound of that random time; a server's Retry-After may ask for more.
        dns_cache_seconds: How long a name's addresses are reused (they are judged on each connect).
        allow_private: Permit every address, also loopback, link-local and cloud metadata ones.
        allowed_file_roots: Folders from which files may be read, after symlinks are resolved. None: any regular
            file that a manifest's `path` column names, but no `file://` URL, since URLs are written by merchants.
        user_agent: Sent with each request; name a contact so that a shop can complain instead of block.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    timeout_seconds: Positive = 30.0
    connect_timeout_seconds: Positive = 5.0
    max_bytes: int = Field(default=20_000_000, ge=1)
    max_pixels: int = Field(default=64_000_000, ge=1)
    max_redirects: int = Field(default=5, ge=0)
    per_host_connections: int = Field(default=6, ge=1)
    total_connections: int = Field(default=48, ge=1)
    retries: int = Field(default=3, ge=0, le=20)
    backoff_base_seconds: Positive = 0.5
    backoff_cap_seconds: Positive = 10.0
    dns_cache_seconds: float = Field(default=60.0, ge=0, allow_inf_nan=False)
    allow_private: bool = False
    allowed_file_roots: tuple[Path, ...] | None = None
    user_agent: str = Field(default="funnelgate/0.1 (picture download)", pattern=r"^[\x20-\x7e]+$")
