"""Make sinks from settings. Each kind's libraries are loaded only where a sink of that kind is opened."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from checks.sinks import settings as s
from checks.sinks.base import Fate, Notice, Retry, Sink
from checks.sinks.credentials import hidden_parts, read_secret
from reporting.errors import ConfigError


def utc_now() -> datetime:
    """Return the present moment, aware."""
    return datetime.now(UTC)


class UnopenedSink:
    """Stands for a sink that cannot be opened: its notices wait, with the reason, for whoever mends the settings."""

    def __init__(self, name: str, error: str):
        self.name = name
        self.timeout_seconds = 0.0
        self.error = error

    def send(self, notice: Notice) -> Fate:
        """See `Sink.send`."""
        del notice
        return Retry(self.error)


def open_sinks(
    settings: Sequence[s.SinkSettings],
    folder: Path,
    environ: Mapping[str, str],
    links: Mapping[str, str] | None = None,
    *,
    clock: Callable[[], datetime] = utc_now,
) -> list[Sink]:
    """Open every sink; one that cannot be opened is an `UnopenedSink`, so that it keeps no other from its notices.

    Args:
        settings: Of `checks.sinks`.
        folder: Of the settings file: relative paths start there.
        environ: Where keys are looked up.
        links: Name to address with places in braces, for every message.
        clock: Says what time it is, aware.
    """
    found: list[Sink] = []
    for one in settings:
        try:
            found.append(open_sink(one, folder, environ, links, clock=clock))
        except ConfigError as error:
            found.append(UnopenedSink(one.name, str(error)))
    return found


def open_sink(
    settings: s.SinkSettings,
    folder: Path,
    environ: Mapping[str, str],
    links: Mapping[str, str] | None = None,
    *,
    clock: Callable[[], datetime] = utc_now,
) -> Sink:
    """Open one sink; for the arguments see `open_sinks`.

    Raises:
        ConfigError: its key or address is missing or malformed, a file cannot be read, or an extra is not installed.
    """
    where = f"checks.sinks {settings.name}"
    secret = partial(read_secret, where, environ=environ, folder=folder)
    if isinstance(settings, s.LogSink):
        from checks.sinks.log import LogSink

        path = None if settings.path is None else folder / settings.path
        return LogSink(settings.name, path, settings.timeout_seconds)
    if isinstance(settings, s.WebhookSink):
        return _webhook(settings, where, secret(settings.url_env, settings.url_file), folder, environ, links or {})
    if isinstance(settings, s.AlertmanagerSink):
        keyed = settings.key_env is not None or settings.key_file is not None
        key = secret(settings.key_env, settings.key_file) if keyed else None
        return _alertmanager(settings, key, where, folder, links or {}, clock)
    if isinstance(settings, s.PagerDutySink):
        return _pagerduty(settings, where, secret(settings.key_env, settings.key_file), links or {})
    if isinstance(settings, s.AppriseSink):
        from checks.sinks.chat import AppriseSink

        address = secret(settings.url_env, settings.url_file)
        return AppriseSink(settings.name, address, timeout_seconds=settings.timeout_seconds, links=links)
    raise ConfigError(f"{where}: no sink is made of {type(settings).__name__}")


def _webhook(
    settings: s.WebhookSink,
    where: str,
    url: str,
    folder: Path,
    environ: Mapping[str, str],
    links: Mapping[str, str],
) -> Sink:
    from checks.sinks.webhook import WebhookSink, read_template, render

    try:
        s.checked_address(url)
    except ValueError as error:
        raise ConfigError(f"{where}: the address in {settings.url_env or settings.url_file} {error}") from None
    secret = {name: read_secret(where, key, None, environ, folder) for name, key in settings.headers_env.items()}
    headers = {name.lower(): value for name, value in {**settings.headers, **secret}.items()}
    template = None
    if settings.template is not None:
        from checks.sinks.sample import sample_notice

        template = read_template(folder / settings.template, where)
        try:
            render(template, sample_notice(settings.name), links)
        except ConfigError as error:
            raise ConfigError(f"{where}: {folder / settings.template}: tried on a sample, {error}") from None
    target = _target(settings, url, folder, headers=headers, secrets=(*hidden_parts(url), *secret.values()))
    return WebhookSink(
        settings.name, target, format=settings.format, template=template, answer=settings.answer, links=links
    )


def _alertmanager(
    settings: s.AlertmanagerSink,
    key: str | None,
    where: str,
    folder: Path,
    links: Mapping[str, str],
    clock: Callable[[], datetime],
) -> Sink:
    from checks.sinks.alertmanager import AlertmanagerSink

    headers: dict[str, str] = {}
    secrets: tuple[str, ...] = ()
    if key is not None:
        plain = f"{settings.user}:{key}".encode()
        shown = base64.b64encode(plain).decode()
        headers = {"authorization": f"Bearer {key}" if settings.user is None else f"Basic {shown}"}
        secrets = (key, shown)
        if settings.user is None and not key.isascii():
            raise ConfigError(f"{where}: the token holds characters that no header may; is it the right one?")
    return AlertmanagerSink(
        settings.name,
        _target(settings, f"{settings.url.rstrip('/')}/api/v2/alerts", folder, headers=headers, secrets=secrets),
        interval_seconds=settings.interval_seconds,
        labels=settings.labels,
        links=links,
        clock=clock,
    )


def _pagerduty(settings: s.PagerDutySink, where: str, key: str, links: Mapping[str, str]) -> Sink:
    from checks.sinks.pagerduty import ROUTING_KEY_LENGTH, PagerDutySink

    if len(key) != ROUTING_KEY_LENGTH or not re.fullmatch(r"[A-Za-z0-9]+", key):
        raise ConfigError(
            f"{where}: a routing key has {ROUTING_KEY_LENGTH} letters and digits, this one {len(key)} characters; take "
            "the integration key of an Events API v2 integration"
        )
    target = _target(settings, settings.url, Path(), secrets=(key,))
    return PagerDutySink(settings.name, target, routing_key=key, source=settings.source, links=links)


def _target(
    settings: s.SinkSettings,
    url: str,
    folder: Path,
    *,
    headers: Mapping[str, str] | None = None,
    secrets: tuple[str, ...] = (),
) -> Any:
    from checks.sinks.posting import Target, checked_target

    ca_certs = getattr(settings, "ca_certs", None)
    target = Target(
        url,
        settings.timeout_seconds,
        headers=headers or {},
        ca_certs=None if ca_certs is None else folder / ca_certs,
        secrets=secrets,
    )
    return checked_target(target, f"checks.sinks {settings.name}")
