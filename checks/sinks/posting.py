"""One POST that ends in time, and what its answer means. httpx is loaded when the first is sent.

The limit holds for the whole exchange: a server that sends one byte now and then gets no longer than a silent one.
"""

from __future__ import annotations

import asyncio
import ssl
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

from checks.sinks.base import Dead, Fate, Retry, Sent
from checks.sinks.credentials import scrub
from reporting.addresses import is_loopback
from reporting.errors import ConfigError

if TYPE_CHECKING:
    import httpx

MAX_ANSWER_BYTES = 64 * 1024
MAX_REDIRECTS = 3
_SHOWN_CHARACTERS = 300
"""Of an answer, in an error."""
_AGAIN = {408, 425, 429}
"""Refusals that time heals, though they begin with 4; 425: RFC 8470."""
_KEEPS_METHOD = {307, 308}


@dataclass(frozen=True)
class Target:
    """Where to post, and how long that may take."""

    url: str
    seconds: float
    headers: Mapping[str, str] = field(default_factory=dict)
    ca_certs: Path | None = None
    secrets: tuple[str, ...] = ()
    """Never to be shown."""

    @property
    def origin(self) -> str:
        """Scheme, host and port: what of the address may be shown."""
        return _origin(self.url)


@dataclass
class Answer:
    """What came back, as far as it came: `status` is 0 until the head is there."""

    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


def checked_target(target: Target, where: str) -> Target:
    """Return a target that can be posted to, as far as this can be known without a network.

    Raises:
        ConfigError: its address, a header or its certificates cannot be used; none of them is repeated.
    """
    import httpx

    try:
        httpx.Request("POST", target.url, headers=dict(target.headers))
        _tls(target.ca_certs)
    except (httpx.InvalidURL, UnicodeError):
        raise ConfigError(f"{where}: its address, or a header, holds characters that none may hold") from None
    except OSError as error:  # SSLError is one
        raise ConfigError(f"{where}: {target.ca_certs}: no certificates can be read: {error}") from None
    return target


def post(target: Target, body: bytes, headers: Mapping[str, str] | None = None) -> Answer | Retry:
    """Post JSON; an answer of any status is an Answer, none at all a Retry.

    A redirect is followed only with the method kept (307, 308) and to the same scheme, host and port: a notice goes
    nowhere else. An answer whose body breaks off, or comes too slowly, is one all the same: its status has decided.
    """
    import httpx

    answer = Answer()
    sent = {"content-type": "application/json", "user-agent": "funnelgate", **target.headers, **(headers or {})}
    try:
        asyncio.run(_exchange(target, body, sent, answer))
    except TimeoutError:
        problem = f"no answer within {target.seconds:g} s"
    except (httpx.HTTPError, httpx.InvalidURL, OSError, ImportError) as error:  # ImportError: a proxy of the kind socks
        problem = f"{type(error).__name__}: {error}".rstrip(": ")
    else:
        return answer
    if answer.status:
        return answer
    return Retry(scrub(f"{target.origin}: {problem}", target.secrets))


async def _exchange(target: Target, body: bytes, headers: Mapping[str, str], answer: Answer) -> None:
    import httpx

    # Not a client of httpx: that logs each address in full, and ours are secrets.
    transport = httpx.AsyncHTTPTransport(verify=_tls(target.ca_certs), proxy=_proxy(target.url))
    async with asyncio.timeout(target.seconds), transport:
        url = target.url
        for _ in range(MAX_REDIRECTS + 1):
            request = httpx.Request("POST", url, headers=dict(headers), content=body)
            response = await transport.handle_async_request(request)
            onward = _onward(url, response)
            if onward is None:
                break
            await response.aclose()
            url = onward
        else:
            answer.status, answer.headers = response.status_code, dict(response.headers)
            return
        answer.status, answer.headers = response.status_code, dict(response.headers)
        try:
            async for part in response.aiter_raw():
                answer.body += part
                if len(answer.body) >= MAX_ANSWER_BYTES:
                    break
        finally:
            await response.aclose()


def _onward(url: str, response: httpx.Response) -> str | None:
    """Return where a redirect leads, or None where it is none that we follow."""
    if response.status_code not in _KEEPS_METHOD or "location" not in response.headers:
        return None
    onward = urljoin(url, response.headers["location"])
    return onward if _origin(onward) == _origin(url) else None


def _origin(url: str) -> str:
    try:
        parts = urlsplit(url)
        port = parts.port or {"https": 443, "http": 80}.get(parts.scheme)
    except ValueError:
        return "(no address)"
    return f"{parts.scheme}://{parts.hostname}:{port}"


@cache
def _tls(ca_certs: Path | None) -> ssl.SSLContext:
    import httpx

    return httpx.create_ssl_context() if ca_certs is None else ssl.create_default_context(cafile=ca_certs)


def _proxy(url: str) -> str | None:
    host = urlsplit(url).hostname or ""
    if is_loopback(host) or urllib.request.proxy_bypass(host):
        return None
    return urllib.request.getproxies().get(urlsplit(url).scheme)


def fate_of(answer: Answer, target: Target) -> Fate:
    """Return what the status of an answer means: 2xx sent; 408, 425, 429, 5xx and redirects later; other 4xx never.

    A redirect is no refusal of the notice: what it says is for the operator, who has a day to act.
    """
    if 200 <= answer.status < 300:
        return Sent()
    said = scrub(f"{target.origin} answered {answer.status}{_excerpt(answer)}", target.secrets)
    if 300 <= answer.status < 400:
        place = _origin(urljoin(target.url, answer.headers.get("location", "")))
        return Retry(f"{said}: it points to {place}; no notice is sent on, so put the new address into the settings")
    if answer.status in _AGAIN or not 400 <= answer.status < 500:
        return Retry(said, retry_after(answer))
    return Dead(said)


def _excerpt(answer: Answer) -> str:
    text = " ".join(answer.body.decode("utf-8", "replace").split())
    text = "".join(one for one in text if one.isprintable())
    if len(text) > _SHOWN_CHARACTERS:
        text = f"{text[:_SHOWN_CHARACTERS]}..."
    return f": {text}" if text else ""


def retry_after(answer: Answer) -> float | None:
    """Return the seconds of `Retry-After`, >= 0, or None where it is missing or unreadable.

    A date is held against the server's own clock, which the header `Date` tells: ours may differ.
    """
    text = answer.headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        until = parsedate_to_datetime(text)
        since = parsedate_to_datetime(answer.headers.get("date", ""))
        return max(0.0, (until - since).total_seconds())
    except (ValueError, TypeError):  # TypeError: one of them names no zone
        return None
