"""Any service of apprise (extra `alerts`): Slack, e-mail, WeCom, Feishu, DingTalk, Teams and many more.

apprise tells only yes or no, and why in its log, which is read here. It takes every answer of status 200 for a yes:
for WeCom, Feishu and DingTalk, which refuse with 200, the webhook's `format` is the surer way.
"""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from checks.incidents import Event, Severity
from checks.sinks.base import Dead, Fate, Notice, Retry, Sent
from checks.sinks.credentials import hidden_parts, scrub
from checks.sinks.message import cut as cut_to
from checks.sinks.message import lines, one_line, show_command, title
from reporting.errors import ConfigError

WECOM_TEXT_BYTES = 2048
"""Of a message of WeCom's kind `text`, the only one that apprise sends; 4096 are those of its markdown."""
_ERROR = re.compile(r"error=(\d{3})\b")
_AGAIN = {408, 425, 429}
_LEAST_BYTES = 200


class AppriseSink:
    """Sends through apprise.

    Args:
        name: The sink's.
        address: apprise's, with all its secrets.
        timeout_seconds: For the connection, and again for the answer, where the service is one of HTTP.
        links: See `message.lines`.

    Raises:
        ConfigError: apprise is not installed, or knows no such address.
    """

    def __init__(
        self, name: str, address: str, *, timeout_seconds: float = 10.0, links: Mapping[str, str] | None = None
    ):
        self.name = name
        self.timeout_seconds = timeout_seconds
        self._secrets = (address, *hidden_parts(address, with_host=True))
        self._links = links or {}
        self._apprise = _open(name, address, timeout_seconds, self._secrets)
        self._limit = min(_limit_of(service) for service in self._apprise)

    def send(self, notice: Notice) -> Fate:
        """See `Sink.send`. A refusal of 4xx in apprise's log is Dead, all else is tried again."""
        kind = _kind_of(notice)
        head = title(notice)
        body = cut_to(
            "\n".join(lines(notice, self._links)),
            max(_LEAST_BYTES, self._limit - len(head.encode()) - 2),  # apprise puts the title before the body
            f"\n... (cut) {show_command(notice.incident)}",
        )
        with _errors() as said:
            sent = self._apprise.notify(body=body, title=head, notify_type=kind, body_format="text")
        if sent:
            return Sent()
        why = scrub(one_line("; ".join(said)) or "apprise could not send it and does not say why", self._secrets)
        status = _ERROR.search(why)
        refused = status is not None and 400 <= int(status[1]) < 500 and int(status[1]) not in _AGAIN
        return Dead(why) if refused else Retry(why)


def _open(name: str, address: str, timeout_seconds: float, secrets: tuple[str, ...]) -> Any:
    try:
        import apprise
    except ImportError as error:
        raise ConfigError(f"sink {name}: {error}; install the extra: pip install 'funnelgate[alerts]'") from None
    _keep_quiet()
    # async_mode: in threads of its own apprise would log where we do not listen.
    asset = apprise.AppriseAsset(app_id="funnelgate", app_desc="funnelgate", async_mode=False)
    found = apprise.Apprise(asset=asset)
    with _errors() as said:
        added = found.add(address)
    if not added or len(found) == 0:
        why = scrub(one_line("; ".join(said)), secrets)
        raise ConfigError(f"sink {name}: apprise does not know this address{f': {why}' if why else ''}; see its list")
    for service in found:
        service.socket_connect_timeout = service.socket_read_timeout = timeout_seconds
    return found


def _limit_of(service: Any) -> int:
    """Return how many bytes a message may have; apprise counts characters, and for WeCom too many."""
    limit = int(service.body_maxlen)
    return min(limit, WECOM_TEXT_BYTES) if "wecom" in type(service).__name__.lower() else limit


def _kind_of(notice: Notice) -> str:
    if not notice.incident.is_open:
        return "success"
    if notice.event is Event.ACKNOWLEDGE:
        return "info"
    return "failure" if notice.incident.severity is Severity.PAGE else "warning"


@contextmanager
def _errors() -> Iterator[list[str]]:
    """Collect what apprise warns of within the block, in this thread."""
    log = logging.getLogger("apprise")
    handler = _Collector(threading.get_ident())
    log.addHandler(handler)
    try:
        yield handler.said
    finally:
        log.removeHandler(handler)


class _Collector(logging.Handler):
    def __init__(self, thread: int):
        super().__init__(logging.WARNING)
        self.said: list[str] = []
        self._thread = thread

    def emit(self, record: logging.LogRecord) -> None:
        if record.thread == self._thread:
            self.said.append(record.getMessage())


def _keep_quiet() -> None:
    """Let apprise log to nobody but us: its lines hold addresses and keys."""
    log = logging.getLogger("apprise")
    log.setLevel(logging.WARNING)
    log.propagate = False
    if not log.handlers:  # without any, Python prints warnings itself
        log.addHandler(logging.NullHandler())
