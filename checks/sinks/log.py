"""Notices as JSON lines with ECS field names, in a file of their own or in the log of funnelgate."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

from checks.incidents import Incident, Severity
from checks.sinks.base import Fate, Notice, Retry, Sent
from checks.sinks.message import title
from reporting.logs import EcsFormatter, logger


class IncidentFormatter(EcsFormatter):
    """ECS lines that also carry the fields in the log record's `ecs`."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, without a newline."""
        fields = getattr(record, "ecs", {})
        return json.dumps({**json.loads(super().format(record)), **fields}, ensure_ascii=False)


class LogSink:
    """Writes one line a notice.

    Args:
        name: The sink's.
        path: The file; None: the log of funnelgate, under the name `incidents`.
        timeout_seconds: Of no use here: a line is written at once, or not.
    """

    def __init__(self, name: str, path: Path | None, timeout_seconds: float = 10.0):
        self.name = name
        self.timeout_seconds = timeout_seconds
        self._path = path
        self._log = logger("incidents")

    def send(self, notice: Notice) -> Fate:
        """See `Sink.send`; a file that cannot be written is a Retry."""
        ended = not notice.incident.is_open
        page = notice.incident.severity is Severity.PAGE
        level = logging.INFO if ended else logging.ERROR if page else logging.WARNING
        extra = {"ecs": fields_of(notice)}
        if self._path is None:
            self._log.log(level, "%s", title(notice), extra=extra)
            return Sent()
        record = self._log.makeRecord(self._log.name, level, "", 0, title(notice), (), None, extra=extra)
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("a", encoding="utf-8") as file:
                file.write(IncidentFormatter().format(record) + "\n")
        except OSError as error:
            return Retry(f"{self._path}: {error.strerror}")
        return Sent()


def fields_of(notice: Notice) -> dict[str, Any]:
    """Return the ECS fields of a notice: event.*, rule.*, and funnelgate.* for the key and the incident."""
    incident = notice.incident
    found = {
        "event.kind": "alert",
        "event.id": notice.notice_id,
        "event.action": notice.event.value,
        "event.start": incident.opened_at.isoformat(),
        "event.end": None if incident.closed_at is None else incident.closed_at.isoformat(),
        "event.reason": incident.result.reason,
        "rule.id": incident.check,
        "rule.category": incident.result.kind,
        "funnelgate.incident.episode": incident.episode,
        "funnelgate.incident.state": incident.state.value,
        "funnelgate.incident.severity": incident.severity.value,
        "funnelgate.incident.where": incident.result.sentence or None,
        "funnelgate.incident.repair": incident.result.repair or None,
        **_key_of(incident),
    }
    return {name: value for name, value in found.items() if value is not None}


def _key_of(incident: Incident) -> dict[str, Any]:
    """Return the key as log lines name it; what the incident does not single out is left out."""
    key = incident.key
    parts = {"task": key.task, "date": key.date.isoformat(), "planid": key.planid, **key.group}
    return {f"funnelgate.{name}": value for name, value in parts.items()}
