"""What the services document of themselves: Alertmanager's API v2 and PagerDuty's Events API v2, checked and played.

The schemas are written from `api/v2/openapi.yaml` of Alertmanager (postableAlert, labelSet) and its docs/alerts_api.md,
and from PagerDuty's `events-v2` OpenAPI and its page "Send an alert event"; both allow more names than these do.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from jsonschema import Draft202012Validator, FormatChecker

from tests.checks.sinks.receiver import Reply, Request

_FORMATS = FormatChecker(formats=())
_RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")


def _is_date_time(value: object) -> bool:
    return not isinstance(value, str) or bool(_RFC3339.fullmatch(value) and datetime.fromisoformat(value))


def _is_uri(value: object) -> bool:
    return not isinstance(value, str) or bool(re.fullmatch(r"[a-z][a-z0-9+.-]*://[^\s\"<>{}|\\^`]+", value))


_FORMATS.checks("date-time", raises=ValueError)(_is_date_time)
_FORMATS.checks("uri")(_is_uri)

_TIME = {"type": "string", "format": "date-time"}
_LABEL_SET = {
    "type": "object",
    "propertyNames": {"pattern": "^[a-zA-Z_][a-zA-Z0-9_]*$"},
    "additionalProperties": {"type": "string"},
}
POSTABLE_ALERTS = {
    "type": "array",
    "items": {
        "type": "object",
        "required": ["labels"],
        "additionalProperties": False,
        "properties": {
            "startsAt": _TIME,
            "endsAt": _TIME,
            "annotations": _LABEL_SET,
            "generatorURL": {"type": "string", "format": "uri"},
            # A label that is empty is no label; an alert without a name cannot be found again.
            "labels": {
                **_LABEL_SET,
                "required": ["alertname"],
                "additionalProperties": {"type": "string", "minLength": 1},
            },
        },
    },
}
_TRIGGER = {"properties": {"event_action": {"const": "trigger"}}}
EVENT = {
    "type": "object",
    "required": ["routing_key", "event_action"],
    "additionalProperties": False,
    "properties": {
        "routing_key": {"type": "string", "minLength": 32, "maxLength": 32},
        "event_action": {"enum": ["trigger", "acknowledge", "resolve"]},
        "dedup_key": {"type": "string", "minLength": 1, "maxLength": 255},
        "client": {"type": "string"},
        "client_url": {"type": "string", "format": "uri"},
        "links": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["href"],
                "additionalProperties": False,
                "properties": {"href": {"type": "string", "format": "uri"}, "text": {"type": "string"}},
            },
        },
        "payload": {
            "type": "object",
            "required": ["summary", "source", "severity"],
            "additionalProperties": False,
            "properties": {
                "summary": {"type": "string", "minLength": 1, "maxLength": 1024},
                "source": {"type": "string", "minLength": 1},
                "severity": {"enum": ["critical", "error", "warning", "info"]},
                "timestamp": _TIME,
                "component": {"type": "string"},
                "group": {"type": "string"},
                "class": {"type": "string"},
                "custom_details": {"type": "object"},
            },
        },
    },
    "if": _TRIGGER,
    "then": {"required": ["payload"]},
    "else": {"required": ["dedup_key"]},
}
MAX_EVENT_BYTES = 512 * 1000


def faults(schema: Any, value: Any) -> list[str]:
    """Return what is wrong with a value."""
    found = Draft202012Validator(schema, format_checker=_FORMATS).iter_errors(value)
    return [f"{'/'.join(map(str, one.absolute_path))}: {one.message}" for one in found]


def _loaded(request: Request) -> Any:
    assert request.method == "POST", request.method
    assert request.headers["content-type"] == "application/json"
    return json.loads(request.body)


@dataclass
class Alertmanager:
    """Keeps alerts by their labels, as the real one does; refuses what it refuses."""

    alerts: dict[tuple[tuple[str, str], ...], dict[str, Any]] = field(default_factory=dict)
    complaints: list[str] = field(default_factory=list)

    def __call__(self, request: Request) -> Reply:
        """Take alerts; 400 with the reason where they are not as documented."""
        posted = _loaded(request)
        wrong = faults(POSTABLE_ALERTS, posted)
        if request.path != "/api/v2/alerts":
            wrong.append(f"path {request.path}")
        if not wrong:
            wrong = [
                "start time must be before end time"
                for one in posted
                if datetime.fromisoformat(one["endsAt"]) < datetime.fromisoformat(one["startsAt"])
            ]
        if wrong:
            self.complaints += wrong
            return Reply(400, json.dumps(wrong[0]).encode(), {"Content-Type": "application/json"})
        for one in posted:
            self.alerts[tuple(sorted(one["labels"].items()))] = one
        return Reply(200)

    def firing(self, now: datetime) -> list[str]:
        """Return the episodes that fire at a moment: those whose end has not passed."""
        alive = [one for one in self.alerts.values() if datetime.fromisoformat(one["endsAt"]) > now]
        return sorted(one["labels"]["episode"] for one in alive)


@dataclass
class PagerDuty:
    """Keeps alerts by their keys; a trigger opens, an acknowledge or resolve of nothing open is dropped."""

    routing_key: str
    state: dict[str, str] = field(default_factory=dict)
    opened: list[str] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def __call__(self, request: Request) -> Reply:
        """Take an event; 400 where it is not as documented."""
        event = _loaded(request)
        wrong = faults(EVENT, event)
        if len(request.body) > MAX_EVENT_BYTES:
            wrong.append(f"{len(request.body)} bytes")
        if request.path != "/v2/enqueue":
            wrong.append(f"path {request.path}")
        if wrong:
            self.complaints += wrong
            answer = {"status": "invalid event", "message": "Event object is invalid", "errors": wrong}
            return Reply(400, json.dumps(answer).encode())
        key = event["dedup_key"]
        if event["routing_key"] == self.routing_key:  # another one is accepted too, and goes nowhere
            self._apply(key, event["event_action"])
        return Reply(202, json.dumps({"status": "success", "message": "Event processed", "dedup_key": key}).encode())

    def _apply(self, key: str, action: str) -> None:
        is_open = self.state.get(key) in ("triggered", "acknowledged")
        if action == "trigger":
            if not is_open:
                self.opened.append(key)
                self.state[key] = "triggered"
        elif not is_open:
            self.dropped.append(key)
        else:
            self.state[key] = f"{action}d"
