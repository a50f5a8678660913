"""Two calls of Kibana's Dashboards API: read one dashboard, and put one. Its errors in our words.

Our own, for two calls need no package: kibana-api is of 2021 (basic auth, no TLS settings), kibana-py an alpha.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self
from urllib.parse import urlsplit

from dashboards.kibana.settings import KibanaSettings
from reporting.addresses import is_loopback
from reporting.api_key import encoded_api_key
from reporting.errors import ConfigError, StoreError

if TYPE_CHECKING:
    import ssl

    import httpx

API_VERSION = "2023-10-31"
TRIES = 4
"""Of a request that Kibana answers with 429 or 503, or that finds no connection."""
FIRST_WAIT_SECONDS = 0.5
"""Before the second try; doubled each time, unless Kibana names another."""
MOST_WAIT_SECONDS = 30.0
_BUSY = (429, 503)
_SHOWN = 2000
"""Characters of an answer that an error repeats: Kibana lists every alternative of a union."""


class Stored(NamedTuple):
    """A dashboard as Kibana gives it back."""

    data: Mapping[str, Any]
    warnings: tuple[str, ...] = ()
    """What it left out of `data`."""


class Refused(ConfigError):
    """Kibana does not take the dashboard as it is (HTTP 400)."""


class Kibana:
    """A connection to one space. Close it, or use it in `with`."""

    def __init__(self, settings: KibanaSettings, *, wait: Callable[[float], None] = time.sleep):
        """Connect; nothing is sent yet.

        Args:
            settings: with `url`; paths relative to the current folder.
            wait: sleeps some seconds before another try.

        Raises:
            ConfigError: the url, the key or the certificate cannot be used as they are.
        """
        import httpx

        self.url = _checked(settings)
        headers = {"kbn-xsrf": "true", "Elastic-Api-Version": API_VERSION}
        key = encoded_api_key("kibana", settings.api_key, settings.api_key_file)
        if key is not None:
            headers["Authorization"] = f"ApiKey {key}"
        space = "" if settings.space == "default" else f"/s/{settings.space}"
        self._wait = wait
        # Like the client of Elasticsearch it heeds no proxy of the environment: the key goes to the named host alone.
        self._client = httpx.Client(
            base_url=f"{self.url}{space}",
            headers=headers,
            timeout=settings.timeout_seconds,
            verify=_trust(self.url, settings.ca_certs),
            trust_env=False,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let the connection go."""
        self._client.close()

    def get(self, board: str) -> Stored | None:
        """Return a dashboard; None where there is none of this id.

        Raises:
            ConfigError: the key was refused, or may not read dashboards, or this is no Kibana 9.5.
            StoreError: Kibana cannot be reached, or fails.
        """
        answer = self._send("GET", board)
        if answer.status_code == 404 and "not found" in answer.text:
            return None
        if answer.status_code == 400:  # what is stored cannot be put in the words of the API: only PUT mends it
            return Stored({}, (f"unreadable: {answer.text[:_SHOWN]}",))
        found = self._json(answer, (200,))
        warnings = tuple(f"{one.get('type')}: {one.get('message')}" for one in found.get("warnings", ()))
        return Stored(found["data"], warnings)

    def put(self, board: str, body: Mapping[str, Any]) -> bool:
        """Make a dashboard, or replace all of it; return whether it is new.

        Raises:
            Refused: Kibana does not take it as it is.
            ConfigError: the key was refused, or may not write dashboards, or this is no Kibana 9.5.
            StoreError: Kibana cannot be reached, or fails.
        """
        answer = self._send("PUT", board, body)
        if answer.status_code == 400:
            raise Refused(f"{self.url}: refused the dashboard {board} (HTTP 400): {answer.text[:_SHOWN]}")
        self._json(answer, (200, 201))
        return answer.status_code == 201

    def _send(self, method: str, board: str, body: Mapping[str, Any] | None = None) -> httpx.Response:
        import httpx

        seconds = FIRST_WAIT_SECONDS
        for number in range(1, TRIES + 1):
            try:
                answer = self._client.request(method, f"/api/dashboards/{board}", json=body)
            except httpx.ConnectError as error:
                if number == TRIES or "CERTIFICATE" in str(error).upper():
                    raise StoreError(f"{self.url}: cannot be reached: {error}") from error
            except httpx.HTTPError as error:
                raise StoreError(f"{self.url}: {type(error).__name__}: {error}") from error
            else:
                if answer.status_code not in _BUSY or number == TRIES:
                    return answer
                seconds = _asked_for(answer, seconds)
            self._wait(min(seconds, MOST_WAIT_SECONDS))
            seconds *= 2
        raise AssertionError("unreachable")

    def _json(self, answer: httpx.Response, good: tuple[int, ...]) -> dict[str, Any]:
        code, where = answer.status_code, f"{self.url}: HTTP {answer.status_code}"
        if code in (401, 403):
            what = "the API key was refused" if code == 401 else "the API key may not do this (feature Dashboards)"
            raise ConfigError(f"{where}: {what}; make one for this space, see docs/dashboards.md")
        if code == 404:
            raise ConfigError(f"{where}: has no Dashboards API: it needs Kibana 9.5; check kibana.url and kibana.space")
        if code not in good:
            raise StoreError(f"{where}: {answer.text[:_SHOWN]}")
        try:
            found = answer.json()
        except ValueError:
            found = None
        if not isinstance(found, dict) or not isinstance(found.get("data"), dict):
            raise ConfigError(f"{where}: is not an answer of the Dashboards API; check kibana.url")
        return found


def _asked_for(answer: httpx.Response, otherwise: float) -> float:
    """Return how long a busy Kibana asks to be left alone."""
    asked = answer.headers.get("retry-after", "")
    return float(asked) if asked.isdigit() else otherwise


def _checked(settings: KibanaSettings) -> str:
    if settings.url is None:
        raise ConfigError("no Kibana is named; write kibana.url into funnelgate.yaml, or give --kibana URL")
    parts = urlsplit(settings.url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise ConfigError(f"kibana.url: {settings.url!r} must be http(s)://host[:port][/base-path] and no more")
    if "@" in parts.netloc:
        raise ConfigError("kibana.url: holds a user and password; take them out and use an API key")
    has_key = settings.api_key is not None or settings.api_key_file is not None
    if has_key and parts.scheme == "http" and not is_loopback(parts.hostname):
        raise ConfigError(f"kibana.url: {settings.url} would send the API key unencrypted; use https://")
    return settings.url.rstrip("/")


def _trust(url: str, ca_certs: Path | None) -> ssl.SSLContext | bool:
    """Return whom to believe: those of a file, else the public authorities; without TLS nobody, which loads nothing."""
    import ssl

    from reporting.elastic.trust import context_of_file

    if ca_certs is None:
        return True if url.startswith("https:") else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        return context_of_file(ca_certs)
    except OSError as error:
        raise ConfigError(f"kibana.ca_certs: {ca_certs}: cannot be used: {error}") from None
