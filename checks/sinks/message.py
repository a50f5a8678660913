"""The words of a notice, in one order for all sinks.

What broke, how much, where, since when, what it touches, the last change, links, commands (reference 6.4). Pure; times
are shown in UTC.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any
from urllib.parse import quote

from checks.incidents import Event, Incident, IncidentState, Severity
from checks.sinks.base import Notice

LAST_CHANGE = "last_change"
"""Key of `Result.details`: one line that says what differs from the plan before, for the notice."""

MAX_TITLE_BYTES = 500
"""Of a title: subjects of mails, heads of chats and summaries of pagers have no room for more."""
_NAMED = 8
"""Tasks of the impact, members of a storm, leaves held: more are counted, not named."""
_ENDED = (IncidentState.RESOLVED, IncidentState.SUPERSEDED, IncidentState.EXPIRED)


def title(notice: Notice) -> str:
    """Return one line of at most 500 bytes: how urgent, what, where, which day."""
    incident = notice.incident
    whole = f"[{_mark(notice)}] {_subject(incident)} on {incident.date}: {_gist(incident)}"
    return cut(one_line(whole), MAX_TITLE_BYTES)


def lines(notice: Notice, links: Mapping[str, str]) -> list[str]:
    """Return the message, a fact a line; none is empty.

    Args:
        notice: What is told.
        links: Name to address with places in braces; see `settings.PLACES`.
    """
    incident = notice.incident
    found = [_what(incident)]
    if incident.state in _ENDED:
        found += [_end(incident), _since(incident)]
    else:
        found += [_size(incident), _where(incident), _since(incident), _impact(incident), _held(incident)]
        found += [_handled(incident), _last_change(incident)]
    found += [f"{name}: {address}" for name, address in addresses(incident, links).items()]
    if incident.state not in _ENDED:
        found += commands(incident)
    return [text for text in map(one_line, found) if text]


def text(notice: Notice, links: Mapping[str, str], limit_bytes: int, *, between: str = "\n") -> str:
    """Return title and message, cut to a number of bytes in UTF-8; what is cut says where the whole stands."""
    whole = between.join([title(notice), *lines(notice, links)])
    return cut(whole, limit_bytes, f"{between}... (cut) {show_command(notice.incident)}")


def cut(whole: str, limit_bytes: int, tail: str = "...") -> str:
    """Return a text of at most so many bytes in UTF-8, ended by `tail` where something is missing.

    Example:
        >>> cut("鞋子鞋子", 9)
        '鞋子...'
    """
    if len(whole.encode()) <= limit_bytes:
        return whole
    if len(tail.encode()) > limit_bytes:
        tail = "..."[:limit_bytes]
    return whole.encode()[: limit_bytes - len(tail.encode())].decode("utf-8", "ignore") + tail


def one_line(whole: str) -> str:
    """Return a text without line ends, control and steering characters: names and errors come from data."""
    return "".join(one for one in " ".join(whole.split()) if one.isprintable())


def addresses(incident: Incident, links: Mapping[str, str]) -> dict[str, str]:
    """Return name to address, the places filled in and written as URLs write them; the runbook last."""
    key = incident.key
    places = {
        "check": incident.check,
        "kind": incident.result.kind,
        "task": key.task,
        "date": key.date.isoformat(),
        "planid": ",".join(incident.planids) or (key.planid or ""),
        "episode": incident.episode,
        "category": key.group.get("category", ""),
        "subinstance": key.group.get("subinstance", ""),
    }
    found = {}
    for name, link in links.items():
        for place, value in places.items():
            link = link.replace(f"{{{place}}}", quote(value, safe=""))  # noqa: PLW2901 - filled place by place
        found[name] = link
    return found | ({"runbook": incident.runbook} if incident.runbook else {})


def show_command(incident: Incident) -> str:
    """Return the command that shows all of an incident."""
    return f"funnelgate incidents show {incident.episode}"


def commands(incident: Incident) -> list[str]:
    """Return what to type: the repair, then who has it, then silence, then leave to go on."""
    found = [f"repair: {incident.result.repair}"] if incident.result.repair else []
    if incident.acknowledged is None:
        found.append(f"acknowledge: funnelgate incidents ack {incident.episode}")
    found.append(f"snooze: funnelgate incidents snooze {incident.episode} --for 4h --why TEXT")
    if _holds(incident) and incident.waiver is None:
        found.append(f"waive: funnelgate incidents waive {incident.episode} --why TEXT")
    return found


def body_of(notice: Notice, links: Mapping[str, str]) -> dict[str, Any]:
    """Return the notice as JSON-ready values: what webhooks send, templates see and pagers show."""
    return {
        "notice_id": notice.notice_id,
        "event": notice.event.value,
        "number": notice.number,
        "created_at": notice.created_at.isoformat(),
        "title": title(notice),
        "lines": lines(notice, links),
        "links": addresses(notice.incident, links),
        "incident": notice.incident.model_dump(mode="json"),
    }


def _mark(notice: Notice) -> str:
    incident = notice.incident
    if incident.state in _ENDED:
        return incident.state.value
    if notice.event is Event.ACKNOWLEDGE:
        return "acknowledged"
    level = "PAGE" if incident.severity is Severity.PAGE else "warn"
    return level + {Event.UPDATE: ", worse", Event.REMIND: ", nobody has it"}.get(notice.event, "")


def _subject(incident: Incident) -> str:
    return f"{len(incident.members)} incidents at once" if incident.members else incident.result.instance


def _gist(incident: Incident) -> str:
    if incident.members:
        return incident.result.reason
    return incident.result.sentence or incident.result.reason


def _what(incident: Incident) -> str:
    if incident.members:
        return f"{incident.result.reason} ({_some(incident.members)})"
    result, key = incident.result, incident.key
    edge = key.task if key.source is None else f"{key.source} -> {key.task}"
    plans = ", ".join(incident.planids) or (key.planid or "none known")
    return f"check {result.id} ({result.kind}) of {edge}, {key.date}, plan {plans}: {result.reason}"


def _size(incident: Incident) -> str:
    result, size = incident.result, incident.size
    if size is None:
        return ""
    unit = result.details.get("unit", "items")
    if result.value is None or result.expected is None:
        return f"size: {_number(size)} {unit}"
    difference = result.value - result.expected
    # What one leaf lacks and another has too much cancels in the sum: then the size is more than the difference.
    both = size > abs(difference) * (1 + 1e-9)
    sign = "missing or too many" if both else "missing" if difference < 0 else "too many"
    share = f", {100 * size / abs(result.expected):.3g} %" if result.expected else ""
    return f"size: {_number(size)} {unit} {sign}{share} ({_number(result.value)} of {_number(result.expected)})"


def _number(value: float) -> str:
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.4g}"


def _where(incident: Incident) -> str:
    return f"where: {incident.result.sentence}" if incident.result.sentence else ""


def _since(incident: Incident) -> str:
    seen = f"first seen {_time(incident.opened_at)}"
    return seen if incident.closed_at is None else f"{seen}, ended {_time(incident.closed_at)}"


def _time(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"


def _impact(incident: Incident) -> str:
    tasks = list(dict.fromkeys(one.task for one in incident.impact))
    return f"impact: {_some(tasks)} ({len(incident.impact)} checks)" if tasks else ""


def _held(incident: Incident) -> str:
    if incident.waiver is not None:
        return f"waived by {incident.waiver.by}: {incident.waiver.why}"
    tasks = _holds(incident)
    return f"held until resolved or waived: {_some(tasks)}" if tasks else ""


def _holds(incident: Incident) -> list[str]:
    """Return the tasks that wait for it, in its order."""
    holds = [*incident.holds, *(hold for one in incident.impact for hold in one.holds)]
    return list(dict.fromkeys(hold.task for hold in holds))


def _handled(incident: Incident) -> str:
    who = incident.acknowledged
    owner = f"owner: {incident.owner}" if incident.owner else ""
    return owner if who is None else f"acknowledged by {who.by} at {_time(who.at)}{f': {who.why}' if who.why else ''}"


def _last_change(incident: Incident) -> str:
    change = incident.result.details.get(LAST_CHANGE)
    return f"last change: {change}" if change else ""


def _end(incident: Incident) -> str:
    who = f" by {incident.closed_by}" if incident.closed_by else ""
    return f"{incident.state.value}{who}{f': {incident.note}' if incident.note else ''}"


def _some(names: Iterable[str]) -> str:
    found = list(names)
    more = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
    return ", ".join(found[:_NAMED]) + more
