"""`funnelgate incidents list|show|ack|snooze|resolve|waive`: what is broken, who has it, and what became of it."""

from __future__ import annotations

import getpass
import json
import re
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from reporting.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from checks.acting import Handling
    from checks.incidents import Incident, IncidentState

EpisodeArgument = Annotated[
    str, typer.Argument(help="The incident, as `incidents list` names it; a beginning is enough where no other has it.")
]
ByOption = Annotated[str | None, typer.Option("--by", help="Who says so; default the user of this machine.")]
WhyOption = Annotated[str, typer.Option("--why", help="The reason, for the history.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]

_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_MOST_LISTED = 1000
_LONGEST_NAME = 128


def add_to(app: typer.Typer) -> None:
    """Mount the commands on the group `incidents`."""
    app.command("list")(list_command)
    app.command("show")(show)
    app.command("ack")(ack)
    app.command("snooze")(snooze)
    app.command("resolve")(resolve)
    app.command("waive")(waive)


def list_command(
    context: typer.Context,
    all_: Annotated[bool, typer.Option("--all", help="Also those that have ended.")] = False,
    state: Annotated[list[str] | None, typer.Option("--state", help="Only in this state; repeatable.")] = None,
    date: Annotated[str | None, typer.Option("--date", help="Only of this business day, YYYY-MM-DD.")] = None,
    first: Annotated[str | None, typer.Option("--from", help="Only of this business day and later ones.")] = None,
    last: Annotated[str | None, typer.Option("--to", help="Only of this business day and earlier ones.")] = None,
    as_json: JsonOption = False,
) -> None:
    """List incidents, those that changed last first; without --all and --state what is open.

    An incident is one cause: what else is broken for it is counted, and listed by `incidents show`.

    Example: `funnelgate incidents list --from 2026-11-01`
    """
    from checks.incident_render import incident_lines, to_document
    from checks.incident_store import list_incidents
    from checks.incidents import OPEN_STATES
    from reporting.days import parse_day

    if date is not None and (first is not None or last is not None):
        raise UsageError("give either --date, or --from and --to")
    begin, until = (date, date) if date is not None else (first, last)
    with context.obj.store.read() as connection:
        found = list_incidents(
            connection,
            states=_states(state) if state else None if all_ else OPEN_STATES,
            first=None if begin is None else parse_day(begin),
            last=None if until is None else parse_day(until),
            limit=_MOST_LISTED,
        )
    if as_json:
        typer.echo(json.dumps([to_document(one) for one in found], indent=1, ensure_ascii=False))
    elif found:
        _print(incident_lines(found, datetime.now(UTC)))
    else:
        typer.echo("no incident" if all_ or state else "no open incident")


def _states(names: list[str]) -> list[IncidentState]:
    """Return states by their names.

    Raises:
        UsageError: there is no such state, with the nearest.
    """
    from checks.incidents import IncidentState
    from reporting.errors import nearest

    known = [state.value for state in IncidentState]
    for name in names:
        if name not in known:
            raise UsageError(f"--state {name!r}: there is no such state; {nearest(name, known)}")
    return [IncidentState(name) for name in names]


def show(context: typer.Context, episode: EpisodeArgument, as_json: JsonOption = False) -> None:
    """Show all of one incident: what is broken, what else for it, what mends it, and all that has happened to it.

    Example: `funnelgate incidents show 3f2a`
    """
    from checks.incident_render import story, to_document
    from checks.incident_store import find_incident, history_of

    with context.obj.store.read() as connection:
        found = find_incident(connection, episode)
        history = history_of(connection, found.episode)
    if as_json:
        told = [action.model_dump(mode="json", exclude={"episode"}) for action in history]
        typer.echo(json.dumps(to_document(found) | {"history": told}, indent=1, ensure_ascii=False))
        return
    _print(story(found, history, datetime.now(UTC)))


def ack(
    context: typer.Context,
    episode: EpisodeArgument,
    by: ByOption = None,
    why: WhyOption = "",
    as_json: JsonOption = False,
) -> None:
    """Say that you have it: nothing is repeated any more, but a worsening is still told.

    Example: `funnelgate incidents ack 3f2a --why "looking at the listing"`
    """
    from checks import handling

    now = datetime.now(UTC)
    _do(context, episode, partial(handling.acknowledge, by=_who(by), why=why, now=now), now, as_json=as_json)


def snooze(
    context: typer.Context,
    episode: EpisodeArgument,
    duration: Annotated[str | None, typer.Option("--for", help="How long: 30m, 4h, 2d, 1w.")] = None,
    until: Annotated[str | None, typer.Option("--until", help="Until when (ISO 8601, UTC if bare).")] = None,
    by: ByOption = None,
    why: WhyOption = "",
    as_json: JsonOption = False,
) -> None:
    """Hear nothing of it for a while, of 30 days at most: a worsening breaks the silence, and its end is told.

    Example: `funnelgate incidents snooze 3f2a --for 4h --why "the merchant sends the rest at noon"`
    """
    from checks import handling
    from reporting.days import parse_moment

    now = datetime.now(UTC)
    if (duration is None) == (until is None):
        raise UsageError("a snooze has an end: give either --for, as in --for 4h, or --until")
    end = parse_moment(until) if duration is None else now + parse_duration(duration)
    assert end is not None, "either is given"
    _do(context, episode, partial(handling.snooze, until=end, by=_who(by), why=why, now=now), now, as_json=as_json)


def resolve(
    context: typer.Context,
    episode: EpisodeArgument,
    why: WhyOption = "",
    benign: Annotated[
        bool, typer.Option("--benign", help="It is as it should be: baselines of drift may hold the day.")
    ] = False,
    by: ByOption = None,
    as_json: JsonOption = False,
) -> None:
    """End it by your word. It opens again only if other data are broken too; a repair ends it without you.

    Example: `funnelgate incidents resolve 3f2a --benign --why "a holiday in the source's country"`
    """
    from checks import handling

    now = datetime.now(UTC)
    done = partial(handling.resolve, by=_who(by), why=why, now=now, benign=benign)
    _do(context, episode, done, now, as_json=as_json)


def waive(
    context: typer.Context,
    episode: EpisodeArgument,
    why: WhyOption = "",
    by: ByOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let the tasks go on that it holds, though it is not mended. It stays open; a worsening holds them again.

    Example: `funnelgate incidents waive 3f2a --why "three pictures; the release is due"`
    """
    from checks import handling

    now = datetime.now(UTC)
    _do(context, episode, partial(handling.waive, by=_who(by), why=why, now=now), now, as_json=as_json)


def _do(context: typer.Context, episode: str, handling: Handling, now: datetime, *, as_json: bool) -> None:
    """Handle an incident, and print what it is then."""
    from checks.acting import handle
    from checks.incident_render import incident_lines, to_document

    found: Incident = handle(context.obj.store, episode, handling, now=now, sinks=context.obj.sinks)
    if as_json:
        typer.echo(json.dumps(to_document(found), indent=1, ensure_ascii=False))
    else:
        _print(incident_lines([found], now))


def _print(lines: Iterable[str]) -> None:
    """Print lines with markup, none of them broken at the terminal's width: an id must stay one word."""
    from rich.console import Console

    console = Console(soft_wrap=True, highlight=False)
    for line in lines:
        console.print(line)


def _who(by: str | None) -> str:
    """Return who acts.

    Raises:
        UsageError: nobody is named and the machine knows no user, or the name is no line of at most 128 characters.
    """
    if by is None:
        try:
            by = getpass.getuser()
        except (OSError, KeyError):
            raise UsageError("this machine knows no name for its user; say who you are by --by NAME") from None
    if not by.strip() or not by.isprintable() or len(by) > _LONGEST_NAME:
        raise UsageError(f"--by {by!r}: write one line of 1 to {_LONGEST_NAME} characters")
    return by.strip()


def parse_duration(text: str) -> timedelta:
    """Return a length of time written as in 30m, 4h, 2d, 1w.

    Raises:
        UsageError: it is written otherwise.

    Example:
        >>> parse_duration("90m")
        datetime.timedelta(seconds=5400)
    """
    found = re.fullmatch(r"(\d{1,4})([mhdw])", text.strip())
    if found is None:
        raise UsageError(f"{text!r} is no length of time; write it as in 30m, 4h, 2d or 1w")
    return timedelta(**{_UNITS[found[2]]: int(found[1])})
