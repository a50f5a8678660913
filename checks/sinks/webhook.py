"""Notices as a POST of JSON: the incident as it is, a chat's message, or what a template makes of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import StrictUndefined, Template, TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from checks.sinks.base import Dead, Fate, Notice, Retry, Sent
from checks.sinks.credentials import scrub
from checks.sinks.message import body_of
from checks.sinks.posting import Target, fate_of, post
from checks.sinks.robots import ROBOTS, refusal
from reporting.errors import ConfigError

MAX_BODY_BYTES = 512 * 1024


class WebhookSink:
    """Posts each notice, with its id as `Idempotency-Key`.

    Args:
        name: The sink's.
        target: Where to.
        format: `json`, or a name of `ROBOTS`.
        template: Writes the body instead.
        answer: What a JSON answer must hold to be a success, besides what the robot's must.
        links: See `message.lines`.
    """

    def __init__(
        self,
        name: str,
        target: Target,
        *,
        format: str = "json",
        template: Template | None = None,
        answer: Mapping[str, Any] | None = None,
        links: Mapping[str, str] | None = None,
    ):
        self.name = name
        self.timeout_seconds = target.seconds
        self._target = target
        self._robot = ROBOTS.get(format)
        self._template = template
        self._answer = {**(self._robot.answer if self._robot is not None else {}), **(answer or {})}
        self._links = links or {}

    def send(self, notice: Notice) -> Fate:
        """See `Sink.send`. A template that fails on a notice is Dead: it fails tomorrow too."""
        try:
            body = self._body(notice)
        except ConfigError as error:
            return Dead(scrub(str(error), self._target.secrets))
        answer = post(self._target, body, {"idempotency-key": notice.notice_id})
        if isinstance(answer, Retry):
            return answer
        fate = fate_of(answer, self._target)
        if isinstance(fate, Sent) and (why := refusal(answer.body, self._answer)) is not None:
            # Which codes time heals (too many a minute) differs by service: all are tried again, for a day.
            return Retry(scrub(f"{self._target.origin} answered {answer.status} but {why}", self._target.secrets))
        return fate

    def _body(self, notice: Notice) -> bytes:
        if self._template is not None:
            return render(self._template, notice, self._links)
        body = body_of(notice, self._links) if self._robot is None else self._robot.body(notice, self._links)
        return json.dumps(body, ensure_ascii=False).encode()


def read_template(path: Path, where: str) -> Template:
    """Read a template of a JSON body. It sees what `message.body_of` returns, and reaches nothing else.

    Raises:
        ConfigError: the file cannot be read, or is no template, with the line.
    """
    # The result is JSON, not HTML: `tojson` quotes, and an escaped `&` would reach people as `&amp;`.
    sandbox = ImmutableSandboxedEnvironment(undefined=StrictUndefined, autoescape=False)
    try:
        return sandbox.from_string(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{where}: {path}: the template cannot be read: {error}") from None
    except TemplateError as error:
        line = getattr(error, "lineno", 1)
        raise ConfigError(f"{where}: {path}:{line}: no template: {error.message}") from None


def render(template: Template, notice: Notice, links: Mapping[str, str]) -> bytes:
    """Return what a template makes of a notice.

    Raises:
        ConfigError: it fails, names what is not there, or makes something else than JSON of at most 512 KB.
    """
    try:
        body = template.render(body_of(notice, links))
        json.loads(body)
    except (TemplateError, ArithmeticError, LookupError, TypeError, ValueError, RecursionError) as error:
        raise ConfigError(f"the template of the webhook: {type(error).__name__}: {error}; it must make JSON") from None
    if len(body.encode()) > MAX_BODY_BYTES:
        raise ConfigError(f"the template of the webhook made {len(body.encode())} bytes, at most {MAX_BODY_BYTES}")
    return body.encode()
