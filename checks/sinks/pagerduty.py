"""PagerDuty, by its Events API v2: one alert an episode, opened, acknowledged and resolved by its `dedup_key`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from checks.incidents import Event, Incident, Severity
from checks.sinks.base import Fate, Notice, Retry
from checks.sinks.message import addresses, lines, title
from checks.sinks.posting import Target, fate_of, post

MAX_SUMMARY = 1024
"""Characters."""
MAX_BODY_BYTES = 512 * 1000
ROUTING_KEY_LENGTH = 32
_SEVERITIES = {Severity.PAGE: "critical", Severity.WARN: "warning"}


class PagerDutySink:
    """Sends events.

    Args:
        name: The sink's.
        target: Of /v2/enqueue.
        routing_key: Of the service's integration; it is among the target's secrets.
        source: What PagerDuty shows as affected.
        links: See `message.lines`.
    """

    def __init__(
        self, name: str, target: Target, *, routing_key: str, source: str, links: Mapping[str, str] | None = None
    ):
        self.name = name
        self.timeout_seconds = target.seconds
        self._target = target
        self._routing_key = routing_key
        self._source = source
        self._links = links or {}

    def send(self, notice: Notice) -> Fate:
        """See `Sink.send`. A worsening is one more trigger: PagerDuty adds it to the open alert."""
        answer = post(self._target, json.dumps(self.event(notice), ensure_ascii=False).encode())
        return answer if isinstance(answer, Retry) else fate_of(answer, self._target)

    def event(self, notice: Notice) -> dict[str, Any]:
        """Return the event; acknowledge and resolve carry nothing but the key of what they are about."""
        incident = notice.incident
        head = {"routing_key": self._routing_key, "dedup_key": incident.episode}
        if notice.event in (Event.ACKNOWLEDGE, Event.RESOLVE):
            return {**head, "event_action": notice.event.value}
        found: dict[str, Any] = {
            **head,
            "event_action": "trigger",
            "client": "funnelgate",
            "links": [{"href": url, "text": name} for name, url in addresses(incident, self._links).items()],
            "payload": {
                "summary": title(notice)[:MAX_SUMMARY],
                "source": self._source,
                "severity": _SEVERITIES[incident.severity],
                "timestamp": incident.opened_at.isoformat(),
                "component": incident.key.task,
                "group": incident.key.date.isoformat(),
                "class": incident.result.kind,
                "custom_details": self._details(notice),
            },
        }
        if len(json.dumps(found, ensure_ascii=False).encode()) > MAX_BODY_BYTES:
            found["payload"]["custom_details"] = {"cut": f"funnelgate incidents show {incident.episode}"}
        return found

    def _details(self, notice: Notice) -> dict[str, Any]:
        incident = notice.incident
        result = incident.result
        return {
            "message": lines(notice, self._links),
            "repair": result.repair,
            "check": result.id,
            "instance": result.instance,
            "value": result.value,
            "expected": result.expected,
            "causes": [cause.model_dump(mode="json") for cause in result.explain],
            "planids": list(incident.planids),
            "impact": _impact(incident),
            "notice_id": notice.notice_id,
        }


def _impact(incident: Incident) -> list[str]:
    return [f"{one.task}: {one.reason}" for one in incident.impact]
