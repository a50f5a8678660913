"""Prometheus Alertmanager, by POST /api/v2/alerts.

An alert ends by itself when its `endsAt` has passed, so that what fires must be posted again and again, and what is
resolved for five minutes more (its docs/alerts_api.md): `repost` does both, and `checks watch` calls it each tick. Its
identity is its labels: they hold nothing that changes within an episode, and never the severity. To route by that,
have two sinks, each with its `severities` and a label of its own.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from checks.incidents import Incident
from checks.sinks.base import Fate, Notice, Retry, Sent
from checks.sinks.message import addresses, commands, one_line, show_command
from checks.sinks.posting import Target, fate_of, post

RESOLVED_FOR = timedelta(minutes=5)
"""How long a resolved alert is posted again, so that one posted while it restarted is not lost."""
_AT_ONCE = 500
_PREFERRED = ("kibana", "dashboard", "funnel", "incident")
"""Links that show where an alert comes from, the best first."""


class AlertmanagerSink:
    """Posts alerts.

    Args:
        name: The sink's.
        target: Of /api/v2/alerts.
        interval_seconds: How often what fires is posted again.
        labels: Further ones of every alert.
        links: See `message.lines`.
        clock: Says what time it is, aware.
    """

    def __init__(
        self,
        name: str,
        target: Target,
        *,
        interval_seconds: float,
        labels: Mapping[str, str] | None = None,
        links: Mapping[str, str] | None = None,
        clock: Callable[[], datetime],
    ):
        self.name = name
        self.timeout_seconds = target.seconds
        self._target = target
        self._interval = timedelta(seconds=interval_seconds)
        self._labels = dict(labels or {})
        self._links = links or {}
        self._clock = clock

    def send(self, notice: Notice) -> Fate:
        """See `Sink.send`. An acknowledgement is posted too: it changes the annotations, and keeps the alert alive."""
        return self.post([notice.incident])

    def post(self, incidents: Sequence[Incident]) -> Fate:
        """Post incidents as they are now, in requests of 500; the first fate that is not Sent ends it."""
        now = self._clock()
        for start in range(0, len(incidents), _AT_ONCE):
            alerts = [self.alert(one, now) for one in incidents[start : start + _AT_ONCE]]
            answer = post(self._target, json.dumps(alerts, ensure_ascii=False).encode())
            fate = answer if isinstance(answer, Retry) else fate_of(answer, self._target)
            if not isinstance(fate, Sent):
                return fate
        return Sent()

    def alert(self, incident: Incident, now: datetime) -> dict[str, Any]:
        """Return an incident as a `postableAlert`.

        It ends when the incident did, at the latest now; else twice the interval from now, unless it is posted again.
        """
        ends = now + 2 * self._interval if incident.is_open else min(now, incident.closed_at or now)
        found: dict[str, Any] = {
            "labels": self._labels_of(incident),
            "annotations": _annotations(incident, self._links),
            "startsAt": _rfc3339(min(incident.opened_at, ends)),
            "endsAt": _rfc3339(ends),
        }
        links = addresses(incident, self._links)
        source = next((links[name] for name in (*_PREFERRED, *links) if name in links), None)
        return found | ({"generatorURL": source} if source is not None else {})

    def _labels_of(self, incident: Incident) -> dict[str, str]:
        key = incident.key
        found = {
            **self._labels,
            "alertname": f"funnelgate_{incident.result.kind}",
            "check": incident.check,
            "instance": incident.result.instance,
            "task": key.task,
            "source": key.source or "",
            "date": key.date.isoformat(),
            "episode": incident.episode,
        }
        for dimension, value in key.group.items():
            found[re.sub(r"[^a-zA-Z0-9_]", "_", dimension)] = value
        return {name: value for name, value in found.items() if value}  # an empty label is none


def _annotations(incident: Incident, links: Mapping[str, str]) -> dict[str, str]:
    result = incident.result
    found = {
        "summary": result.sentence or result.reason,
        "description": result.reason,
        "severity": incident.severity.value,
        "state": incident.state.value,
        "planids": ", ".join(incident.planids),
        "impact": ", ".join(dict.fromkeys(one.task for one in incident.impact)),
        "owner": incident.owner or "",
        "note": incident.note,
        "commands": "; ".join([show_command(incident), *commands(incident)]),
        **{f"link_{re.sub(r'[^a-zA-Z0-9_]', '_', name)}": url for name, url in addresses(incident, links).items()},
    }
    if incident.runbook:
        found["runbook_url"] = incident.runbook
    return {name: one_line(value) for name, value in found.items() if value}


def _rfc3339(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
