"""Incidents for people and programs: two lines, the whole story of one, and JSON. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from rich.markup import escape  # names come from data: a bracket in one is no markup

from checks.breaks import facts_of
from checks.incidents import Action, Hold, Incident, IncidentState, Severity

_STYLES = {
    IncidentState.PENDING: "dim",
    IncidentState.FIRING: "red bold",
    IncidentState.ACKNOWLEDGED: "yellow",
    IncidentState.RECOVERING: "cyan",
    IncidentState.RESOLVED: "green",
    IncidentState.SUPERSEDED: "green",
    IncidentState.EXPIRED: "dim",
}


def to_document(incident: Incident) -> dict[str, Any]:
    """Return an incident as JSON-ready values: what it is about at the top level, times in ISO 8601."""
    dumped, result = incident.model_dump(mode="json"), incident.result.model_dump(mode="json")
    found = {name: dumped[name] for name in ("episode", "state", "severity")}
    found |= {name: result[name] for name in ("kind", "instance", "key", "status", "value", "expected", "tolerance")}
    found |= {"check": incident.check, "size": incident.size, "unit": str(incident.result.details.get("unit", ""))}
    found |= {name: result[name] for name in ("reason", "sentence", "explain", "repair")}
    dumped["details"] = dict(facts_of(incident.result))
    return found | {name: value for name, value in dumped.items() if name not in ("result", "seen", "notified")}


def incident_lines(incidents: Sequence[Incident], now: datetime) -> Iterator[str]:
    """Yield two lines for each incident: state, level, day, what broke and its id; where, since when, who has it.

    Lines, not a table: the id must be copied, and a sentence has no width that fits a column.
    """
    for one in incidents:
        head = f"{_state(one, now)} {_level(one)}  {one.date}  {escape(subject(one))}"
        yield f"{head}  [dim]{escape(one.episode)}[/]"
        also = len(one.members) or len(one.impact) + one.more_impact
        who = one.acknowledged.by if one.acknowledged else one.owner
        facts = [escape(one.result.sentence or one.result.reason), f"since {ago(one.opened_at, now)}"]
        facts += [f"also broken: {also}"] if also else []
        facts += [f"with {escape(who)}"] if who else []
        yield f"  {'; '.join(facts)}"


def subject(incident: Incident) -> str:
    """Return in a few words what an incident is about."""
    if incident.members:
        return f"{len(incident.members)} incidents at once"
    return f"{incident.check} {incident.result.instance}"


def ago(then: datetime, now: datetime) -> str:
    """Return how long ago a moment was, in the largest fitting unit.

    Example:
        >>> from datetime import timedelta
        >>> ago(datetime(2026, 11, 1, 6, 0), datetime(2026, 11, 1, 6, 0) + timedelta(hours=30))
        '1.2 d'
    """
    seconds = (now - then).total_seconds()
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.1f} {unit}"
    return f"{max(0, seconds):.0f} s"


def story(incident: Incident, history: Sequence[Action], now: datetime) -> Iterator[str]:
    """Yield lines of markup with all that is known of an incident, its history last."""
    result = incident.result
    yield f"{_state(incident, now)} {_level(incident)}  {escape(subject(incident))}  [dim]{escape(incident.episode)}[/]"
    yield f"  {escape(result.reason)}"
    for name, value in _facts(incident, now):
        yield f"  {name:13} {escape(value)}"
    for part in incident.impact:
        own = f" ({part.episode})" if part.episode else ""
        yield f"  {'also broken':13} {escape(f'{part.check} {part.instance}: {part.sentence or part.reason}{own}')}"
    if incident.more_impact:
        yield f"  {'':13} and {incident.more_impact} more"
    for member in incident.members:
        yield f"  {'member':13} {escape(member)}"
    yield ""
    for action in history:
        why = f": {action.why}" if action.why else ""
        yield f"  {_time(action.at)}  {action.kind.value:11} {escape(f'{action.who}{why}')}"


def _facts(incident: Incident, now: datetime) -> Iterator[tuple[str, str]]:
    result, key = incident.result, incident.key
    where = key.task if key.source is None else f"{key.source} -> {key.task}"
    yield "day and task", f"{key.date} {where}"
    if result.sentence:
        yield "where", result.sentence
    if incident.planids:
        yield "plans", ", ".join(incident.planids)
    yield "since", f"{_time(incident.opened_at)} ({ago(incident.opened_at, now)} ago)"
    if incident.closed_at is not None:
        by = f" by {incident.closed_by}" if incident.closed_by else ""
        yield "ended", f"{_time(incident.closed_at)}{by}: {incident.note}{' (benign)' if incident.benign else ''}"
    if incident.acknowledged is not None:
        said = incident.acknowledged
        yield "acknowledged", f"by {said.by} at {_time(said.at)}{f': {said.why}' if said.why else ''}"
    if incident.snooze is not None:
        yield "snoozed", f"until {_time(incident.snooze.until)} by {incident.snooze.by}: {incident.snooze.why}"
    if incident.waiver is not None:
        yield "waived", f"by {incident.waiver.by} at {_time(incident.waiver.at)}: {incident.waiver.why}"
    held = [*incident.holds, *(hold for part in incident.impact for hold in part.holds)]
    for hold in held if incident.is_open and incident.waiver is None else ():
        yield "holds", hold_in_words(hold)
    links = (("explained by", incident.cause), ("told with", incident.storm))
    for name, value in (*links, ("owner", incident.owner), ("runbook", incident.runbook)):
        if value:
            yield name, value
    if result.repair and incident.is_open:
        yield "to mend it", result.repair


def hold_in_words(hold: Hold) -> str:
    """Return what waits: the task, the day, and which of its leaves."""
    parts = [f"{hold.task} of {hold.date}{' and later days' if hold.later_days else ''}"]
    for name, values in (("category", hold.categories), ("subinstance", hold.subinstances)):
        if values is not None:
            parts.append(f"{name} {', '.join(values)}")
    return ", ".join(parts)


def _state(incident: Incident, now: datetime) -> str:
    asleep = " [dim](snoozed)[/]" if incident.is_open and incident.is_snoozed(now) else ""
    explained = " [dim](explained)[/]" if incident.cause is not None else ""
    return f"[{_STYLES[incident.state]}]{incident.state.value}[/]{asleep}{explained}"


def _level(incident: Incident) -> str:
    return "[red]page[/]" if incident.severity is Severity.PAGE else "warn"


def _time(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S}"
