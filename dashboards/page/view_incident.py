"""The pages of incidents: the list, and one incident with where it sits, what happened, and what mends it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from dashboards.page.cards import IncidentCard
from dashboards.page.links import Kibana, incident_path, kibana_address
from dashboards.page.render import Page

if TYPE_CHECKING:
    from dashboards.page.desk import Desk
    from reporting.record import TaskRecord

MOST_RECORDS: Final = 60
"""Records that a page of an incident links to; the day's page of leaves has all."""
_DIMENSIONS: Final = ("category", "subinstance")
_TONES: Final = {
    "open": "doubt",
    "fire": "bad",
    "worsen": "bad",
    "relapse": "bad",
    "recover": "doubt",
    "resolve": "good",
    "supersede": "good",
    "expire": "quiet",
}
"""What happened, by how it is coloured; the word stands beside it."""


class RecordLine(NamedTuple):
    """A record that an incident is about."""

    record: TaskRecord
    says: str
    """What it says of the break: `hands on` or `takes in`."""
    items: int
    """That it handed on, or took in."""
    is_counting: bool
    """Whether it is of the effective plan now."""


class Outside(NamedTuple):
    """An address outside of the pages."""

    name: str
    address: str


def paths(desk: Desk) -> list[str]:
    """Return the pages of the incidents that the list shows."""
    return list(dict.fromkeys(incident_path(one.episode) for one in listed(desk)))


def listed(desk: Desk) -> list[IncidentCard]:
    """Return every open incident, and those of the shown days that have ended; each once."""
    of_days = [] if desk.span is None else desk.sources.incidents(*desk.span)
    return list({one.episode: one for one in (*desk.open_incidents, *of_days)}.values())


def list_page(desk: Desk) -> Page:
    """Return the list of incidents."""
    found = listed(desk)
    return Page(
        "incidents.html",
        "incidents.html.j2",
        "Incidents",
        {
            "span": desk.span,
            "causes": [one for one in found if one.is_open and one.cause is None],
            "explained": [one for one in found if one.is_open and one.cause is not None],
            "ended": [one for one in found if not one.is_open],
        },
    )


def page(desk: Desk, name: str) -> Page | None:
    """Return the page of an incident by the name of its file; None: there is no such incident."""
    path = f"incident/{name}.html"
    card = desk.sources.incident(name) or next(
        (desk.sources.incident(one.episode) for one in listed(desk) if incident_path(one.episode) == path), None
    )
    if card is None or incident_path(card.episode) != path:
        return None
    related = {one.episode: one for one in listed(desk)} if card.cause or card.storm or card.members else {}
    lines = _records(desk, card)
    return Page(
        path,
        "incident.html.j2",
        f"{card.check} {card.instance} on {card.date.isoformat()}",
        {
            "card": card,
            "tones": _TONES,
            "records": lines[:MOST_RECORDS],
            "more_records": max(0, len(lines) - MOST_RECORDS),
            "reasons": _reasons(desk, card),
            "related": related,
            "kibana": list(_kibana(desk.sources.kibana, card, lines)),
            "outside": [Outside(*one) for one in card.links if one[1].startswith(("https://", "http://"))],
            "told": [one for one in card.links if not one[1].startswith(("https://", "http://"))],
            "longest": max((abs(one.missing) for one in card.causes), default=0.0),
        },
    )


def _records(desk: Desk, card: IncidentCard) -> list[RecordLine]:
    """Return the records of both ends of what broke: those of the plans that were judged, and those that count now."""
    facts = desk.day(card.date)
    counting = {record.key for record in facts.counting}
    found = [
        RecordLine(
            record,
            "takes in" if record.key.task == card.task else "hands on",
            record.input if record.key.task == card.task else record.produced,
            record.key in counting,
        )
        for record in facts.records
        if record.key.task in (card.task, card.source)
        and (record.key in counting or record.key.planid in card.planids)
        and _is_meant(record, card)
    ]
    return sorted(found, key=lambda line: (line.record.key.task == card.task, line.record.key.parts()))


def _is_meant(record: TaskRecord, card: IncidentCard) -> bool:
    """Tell whether a record is of the leaves that explain the break, or of the whole where nothing was localised."""
    if any(_at(record, name, {value}) is False for name, value in card.group.items()):
        return False
    if not card.causes:
        return True
    return any(all(_at(record, name, values) for name, values in one.values.items()) for one in card.causes)


def _at(record: TaskRecord, dimension: str, values: Iterable[str]) -> bool:
    """Tell whether a record is at one of the values; one that does not split by the dimension is at all of them."""
    value = getattr(record.key, dimension, "all")
    return value == "all" or value in set(values)


def _reasons(desk: Desk, card: IncidentCard) -> list[tuple[str, str, int]]:
    """Return (task, reason, count) of what both ends dropped that day, without what is known to have no gallery."""
    pictured = desk.pictured.get(card.date)
    rows = {row.task: row for row in desk.day(card.date).funnel}
    return [
        (task, reason, count)
        for task in (card.source, card.task)
        if task is not None and task in rows
        for reason, count in sorted(rows[task].dropped.items())
        if count and (pictured is None or (task, reason) in pictured)
    ]


def _kibana(kibana: Kibana | None, card: IncidentCard, lines: Sequence[RecordLine]) -> Iterator[Outside]:
    """Yield the dashboards of Kibana with the incident's day, task and leaves set.

    A line of a log has the time of the work, which may be days after the business day.
    """
    if kibana is None:
        return
    where = {"task": card.task, **_single(card)}
    moments = [moment for line in lines for moment in (line.record.started_at, line.record.reported_at)]
    worked = {moment.date() for moment in (*moments, card.opened_at)}
    logged = {f"funnelgate.{name}": value for name, value in {**where, "date": card.date.isoformat()}.items()}
    boards: Sequence[tuple[str, str, Mapping[str, str]]] = (
        ("Funnel of the task", "funnel", where),
        ("Task graph of the day", "graph", {}),
        ("Incidents of the task", "incidents", {"task": card.task}),
    )
    for name, board, filters in boards:
        yield Outside(name, kibana_address(kibana, board, card.date, card.date, filters))
    yield Outside("Logs of the leaf", kibana_address(kibana, "logs", min(worked), max(worked), logged))


def _single(card: IncidentCard) -> dict[str, str]:
    """Return the dimensions of which the break names one value alone: only that can be a filter."""
    found = {name: {value} for name, value in card.group.items() if name in _DIMENSIONS}
    for name in _DIMENSIONS:
        named = {value for one in card.causes for value in one.values.get(name, ())}
        if card.causes and all(name in one.values for one in card.causes):
            found.setdefault(name, named)
    return {name: next(iter(values)) for name, values in found.items() if len(values) == 1}
