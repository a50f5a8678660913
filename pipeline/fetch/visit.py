"""One HTTP request and what its answer means."""

from __future__ import annotations

import errno
import ssl
from collections.abc import Iterator
from datetime import datetime

import httpcore
import httpx

from pipeline.fetch.outcome import Absence, Body, Fault, Outcome, Redirect, raise_for_shortage
from pipeline.fetch.policy import FetchPolicy, Reason
from pipeline.fetch.resolve import UnknownHostError
from pipeline.fetch.retry import retry_after_seconds
from pipeline.fetch.transport import PinnedTransport, RefusedAddressError

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_UNREACHABLE = frozenset({errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN})


def parse_url(text: str) -> httpx.URL | Fault:
    """Return an absolute http or https URL, or why it is none that may be asked."""
    try:
        url = httpx.URL(text)
    except (httpx.InvalidURL, UnicodeError, ValueError) as error:
        return Fault("dead_link", f"not a URL: {error!s:.100}")
    if url.scheme not in ("http", "https"):
        return Fault("refused_address", f"scheme {url.scheme!r:.20}; expected http, https or file")
    if not url.host:
        return Fault("dead_link", "the URL has no host")
    return url


async def visit(
    url: httpx.URL, transport: PinnedTransport, policy: FetchPolicy, now: datetime, *, first_bytes: int | None = None
) -> Outcome:
    """Ask once for `url`, at most `max_bytes` of it; redirects are reported, not followed.

    The caller sets the deadline. Compressed transfer is declined, and never unpacked if sent all the same: a
    bomb stays as small as it came. With `first_bytes` no more than so many from the beginning are asked for (RFC 9110
    section 14.2) and taken; a server that sends the whole all the same is left in the middle of it.

    Raises:
        StoreError: This machine has no sockets left.
    """
    wanted = {} if first_bytes is None else {"Range": f"bytes=0-{first_bytes - 1}"}
    request = httpx.Request(
        "GET",
        url,
        headers={
            "User-Agent": policy.user_agent,
            "Accept": "image/*,*/*;q=0.5",
            "Accept-Encoding": "identity",
            **wanted,
        },
        extensions={"timeout": {"connect": policy.connect_timeout_seconds}},
    )
    try:
        response = await transport.handle_async_request(request)
        try:
            if first_bytes is not None and response.is_success:
                answer: Outcome = await _beginning(response, first_bytes)
            else:
                answer = await _answer(url, response, policy, now)
            return answer
        finally:
            await response.aclose()
    except RefusedAddressError as error:
        return Fault("refused_address", str(error))
    except UnknownHostError as error:
        absence: Absence | None = None if error.is_temporary else "unreachable"
        return Fault("dead_link", str(error), is_passing=error.is_temporary, absence=absence)
    except httpcore.TimeoutException:
        waited = f"no connection within {policy.connect_timeout_seconds:g} s"
        return Fault("timeout", waited, is_passing=True)
    except httpcore.LocalProtocolError as error:
        return Fault("dead_link", f"the URL cannot be asked for: {error!s:.100}")
    except (httpcore.NetworkError, httpcore.RemoteProtocolError, ssl.SSLError, OSError) as error:
        return _connection_fault(error)


async def _answer(url: httpx.URL, response: httpx.Response, policy: FetchPolicy, now: datetime) -> Outcome:
    status = response.status_code
    said = f"HTTP {status}"
    if 200 <= status < 300:
        return await _body(response, policy)
    if status in _REDIRECTS and "location" in response.headers:
        try:
            return Redirect(str(url.join(response.headers["location"])))
        except (httpx.InvalidURL, UnicodeError, ValueError) as error:
            return Fault("dead_link", f"{said} to what is not a URL: {error!s:.100}")
    if status in (401, 403, 407):
        return Fault("no_permission", said)
    if status in (408, 429) or status >= 500:
        wanted = retry_after_seconds(response.headers.get("retry-after"), now)
        reason: Reason = "timeout" if status == 408 else "server_error"
        return Fault(reason, said, is_passing=True, retry_after_seconds=wanted)
    return Fault("dead_link", said, absence="gone" if status in (404, 410) else None)


async def _beginning(response: httpx.Response, first_bytes: int) -> Body:
    data = bytearray()
    async for part in response.aiter_raw():
        data += part
        if len(data) >= first_bytes:
            break
    return Body(bytes(data[:first_bytes]))


async def _body(response: httpx.Response, policy: FetchPolicy) -> Body | Fault:
    said = response.headers.get("content-length", "")
    if said.isdigit() and int(said) > policy.max_bytes:
        return Fault("too_large", f"{said} bytes announced; at most {policy.max_bytes}")
    data = bytearray()
    async for part in response.aiter_raw():
        data += part
        if len(data) > policy.max_bytes:
            return Fault("too_large", f"more than {policy.max_bytes} bytes")
    return Body(bytes(data))


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield the error and what led to it; httpcore's pool strips `__cause__` but keeps `__context__`."""
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = seen.__cause__ or seen.__context__


def _connection_fault(error: Exception) -> Fault:
    numbers = set()
    for link in _chain(error):
        if isinstance(link, ssl.SSLCertVerificationError):
            return Fault("dead_link", f"TLS certificate refused: {link.verify_message:.100}")
        if isinstance(link, OSError):
            raise_for_shortage(link)
            numbers.add(link.errno)
    detail = str(error)[:200] or type(error).__name__
    if errno.ECONNREFUSED in numbers:
        return Fault("dead_link", "connection refused", absence="unreachable")
    if errno.ETIMEDOUT in numbers:
        return Fault("timeout", detail, is_passing=True)
    if numbers & _UNREACHABLE:
        return Fault("dead_link", detail, is_passing=True)
    return Fault("server_error", detail, is_passing=True)
