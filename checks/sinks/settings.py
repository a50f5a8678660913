"""The sinks of funnelgate.yaml: a list, told apart by `kind`. No key and no secret address stands in it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from reporting.addresses import is_loopback
from reporting.errors import nearest

Severity = Literal["warn", "page"]
Format = Literal["json", "slack", "wecom", "feishu", "dingtalk", "teams"]

_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, 5.6.2: token
_SECRET_HEADERS = {"authorization", "proxy-authorization", "cookie", "x-api-key", "api-key", "x-auth-token"}
PLACES = ("check", "kind", "task", "date", "planid", "episode", "category", "subinstance")
"""What a link may name in braces."""


def checked_address(url: str, *, plain: bool = False) -> str:
    """Return an address that may be posted to.

    Args:
        url: `https://host/path`, or `http://` where the host is this machine.
        plain: Whether `http://` is allowed anywhere.

    Raises:
        ValueError: it is no such address; the message does not repeat it, since it may hold a key.
    """
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host = None
    if host is None or parts.scheme not in ("http", "https") or not url.isprintable() or " " in url:
        raise ValueError("is no address of the form https://host/path")
    if parts.username is not None or parts.password is not None:
        raise ValueError(f"has a user or password before the host {host}; take them out of the address")
    if parts.scheme == "http" and not plain and not is_loopback(host):
        raise ValueError(f"would send in clear text to {host}; write https://")
    return url


def _checked_link(text: str) -> str:
    if not text.startswith(("https://", "http://")):
        raise ValueError(f"{text!r} must begin with https:// or http://")
    for name in re.findall(r"\{([^{}]*)\}", text):
        if name not in PLACES:
            raise ValueError(f"{text!r} names {{{name}}}; {nearest(name, PLACES)}")
    rest = re.sub(r"\{[^{}]*\}", "", text)
    if "{" in rest or "}" in rest:
        raise ValueError(f"{text!r} has a brace without its other half")
    return text


Link = Annotated[str, AfterValidator(_checked_link)]
"""An address with places in braces: `https://kibana.example/app/dashboards?task={task}&date={date}`."""


class SinkSettings(BaseModel):
    """What every sink has."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]*$", max_length=40)
    """Names the sink in the store and in the logs; what waits under a name that is gone is put aside after a day."""
    severities: tuple[Severity, ...] = Field(default=("warn", "page"), min_length=1)
    """Incidents of which severity it hears of. What it has heard of it also sees resolved, whatever that became."""
    timeout_seconds: float = Field(default=10.0, gt=0, le=120)
    """How long one notice may take, from the first packet to the end of the answer."""


class LogSink(SinkSettings):
    """JSON lines with ECS field names."""

    kind: Literal["log"]
    """This sort of sink."""
    path: Path | None = None
    """A file of its own, relative to the settings file; null: the log of funnelgate."""


class WebhookSink(SinkSettings):
    """A POST of JSON to an address that is a secret: from the environment or a file."""

    kind: Literal["webhook"]
    """This sort of sink."""
    url_env: str | None = None
    """The environment variable that holds the address."""
    url_file: Path | None = None
    """A file that holds the address and nothing else, relative to the settings file."""
    format: Format = "json"
    """What the other side reads: the incident as JSON, or the message of a chat's robot."""
    template: Path | None = None
    """A Jinja2 template of the JSON body, relative to the settings file; null: as `format` says."""
    answer: dict[str, str | int | float | bool | None] = Field(default_factory=dict)
    """What a JSON answer must hold to count as a success, for services that refuse with status 200: `{errcode: 0}`."""
    headers: dict[str, str] = Field(default_factory=dict)
    """Sent along; nothing secret."""
    headers_env: dict[str, str] = Field(default_factory=dict)
    """Header to environment variable: `{Authorization: ALERTS_TOKEN}`."""
    ca_certs: Path | None = None
    """PEM file of the authority that signed the server's certificate; null: the usual ones."""

    @model_validator(mode="after")
    def _one_of_each(self) -> Self:
        _exactly_one(self, "url_env", "url_file")
        if self.template is not None and self.format != "json":
            raise ValueError("a template writes the whole body: leave `format` out")
        odd = [name for name in (*self.headers, *self.headers_env) if not _HEADER.fullmatch(name)]
        if odd:
            raise ValueError(f"headers: {odd[0]!r} is no name of a header")
        secret = [name for name in self.headers if name.lower() in _SECRET_HEADERS]
        if secret:
            raise ValueError(
                f"headers: {secret[0]} is a secret: put it into the environment, and name it in headers_env"
            )
        twice = {name.lower() for name in self.headers} & {name.lower() for name in self.headers_env}
        if twice:
            raise ValueError(f"header {min(twice)!r} stands in both headers and headers_env; keep one")
        return self


class AlertmanagerSink(SinkSettings):
    """Prometheus Alertmanager, by its API version 2."""

    kind: Literal["alertmanager"]
    """This sort of sink."""
    url: str
    """`https://host:9093`, with the route prefix if it has one; `/api/v2/alerts` is added."""
    user: str | None = None
    """For basic authentication, with the key as password; null: the key, if any, is a bearer token."""
    key_env: str | None = None
    """The environment variable that holds the password or token."""
    key_file: Path | None = None
    """A file that holds it and nothing else, relative to the settings file."""
    ca_certs: Path | None = None
    """PEM file of the authority that signed the server's certificate; null: the usual ones."""
    interval_seconds: float = Field(default=300.0, ge=1, le=7 * 86400)
    """How often `checks watch` posts a firing alert again; it ends by itself after twice as long without."""
    labels: dict[str, str] = Field(default_factory=dict)
    """Further labels of every alert, to route by."""

    @model_validator(mode="after")
    def _can_be_sent(self) -> Self:
        with_key = self.key_env is not None or self.key_file is not None
        if with_key:
            _exactly_one(self, "key_env", "key_file")
        elif self.user is not None:
            raise ValueError("`user` needs the password: key_env or key_file")
        try:
            checked_address(self.url, plain=not with_key)
        except ValueError as error:
            raise ValueError(f"url {error}") from None
        if urlsplit(self.url).query or urlsplit(self.url).fragment:
            raise ValueError("url must end with the host or the route prefix")
        for name, value in self.labels.items():
            if not _LABEL.fullmatch(name) or not value:
                raise ValueError(f"labels.{name}: a name of [a-zA-Z0-9_] that begins with no digit, and a value")
        return self


class PagerDutySink(SinkSettings):
    """PagerDuty, by its Events API version 2."""

    kind: Literal["pagerduty"]
    """This sort of sink."""
    key_env: str | None = None
    """The environment variable that holds the routing key (the integration key of the service)."""
    key_file: Path | None = None
    """A file that holds it and nothing else, relative to the settings file."""
    url: str = "https://events.pagerduty.com/v2/enqueue"
    """In Europe `https://events.eu.pagerduty.com/v2/enqueue`."""
    source: str = Field(default="funnelgate", min_length=1, max_length=255)
    """The system that PagerDuty shows as affected: the name of this installation."""

    @model_validator(mode="after")
    def _can_be_sent(self) -> Self:
        _exactly_one(self, "key_env", "key_file")
        try:
            checked_address(self.url)
        except ValueError as error:
            raise ValueError(f"url {error}") from None
        return self


class AppriseSink(SinkSettings):
    """Any service of apprise (extra `alerts`): Slack, e-mail, Teams and a hundred others."""

    kind: Literal["apprise"]
    """This sort of sink."""
    url_env: str | None = None
    """The environment variable that holds apprise's address: `mailto://user:password@host?to=oncall@example.org`."""
    url_file: Path | None = None
    """A file that holds it and nothing else, relative to the settings file."""

    @model_validator(mode="after")
    def _one_address(self) -> Self:
        _exactly_one(self, "url_env", "url_file")
        return self


def _exactly_one(model: BaseModel, first: str, second: str) -> None:
    given = [name for name in (first, second) if getattr(model, name) is not None]
    if len(given) != 1:
        raise ValueError(f"needs {first} or {second}" + (", not both" if given else ""))


_Each = LogSink | WebhookSink | AlertmanagerSink | PagerDutySink | AppriseSink
_ALL: tuple[type[SinkSettings], ...] = get_args(_Each)
KINDS = {get_args(one.model_fields["kind"].annotation)[0]: one for one in _ALL}
"""Kind to its model."""


def _has_known_names(value: Any) -> Any:
    """Name the nearest kind and key, which the union of models cannot do."""
    if not isinstance(value, dict):
        return value
    kind = value.get("kind")
    model = KINDS.get(kind) if isinstance(kind, str) else None
    if model is None:
        raise ValueError(f"unknown kind {kind!r}; {nearest(str(kind), KINDS)}")
    for key in value:
        if key not in model.model_fields:
            raise ValueError(f"unknown key {key!r} of a sink of kind {kind}; {nearest(str(key), model.model_fields)}")
    return value


def _has_unique_names(sinks: tuple[SinkSettings, ...]) -> tuple[SinkSettings, ...]:
    names = [sink.name for sink in sinks]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"two sinks are called {twice[0]!r}; what waits for one is found by its name")
    return sinks


AnySink = Annotated[_Each, Field(discriminator="kind"), BeforeValidator(_has_known_names)]
"""One entry of `checks.sinks`."""

Sinks = Annotated[tuple[AnySink, ...], AfterValidator(_has_unique_names)]
"""The whole list."""
