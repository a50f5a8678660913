"""`funnelgate checks notices`: what waits to be told, what was told, what no sink took, and to try that again."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from reporting.errors import UsageError, nearest

if TYPE_CHECKING:
    from checks.notices import NoticeLine, NoticeState, SinkStatus

_MOST_LISTED = 1000


def add_to(app: typer.Typer) -> None:
    """Mount the command on the group `checks`."""
    app.command("notices")(notices)


def notices(
    context: typer.Context,
    ids: Annotated[list[int] | None, typer.Argument(help="Only the notices of these numbers.")] = None,
    sink: Annotated[list[str] | None, typer.Option("--sink", help="Only of this sink; repeatable.")] = None,
    state: Annotated[
        list[str] | None,
        typer.Option("--state", help="List those that are waiting, sent or dead; repeatable. Default: waiting, dead."),
    ] = None,
    revive: Annotated[
        bool, typer.Option("--revive", help="Let the dead among them be sent again, with the next watch or run.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
) -> None:
    """Show what waits to be told and what no sink took, how often it was tried and why it failed, the latest first.

    A notice is dead when its sink refuses it, takes nothing for a day, or is in the settings no more. Once that is
    mended, --revive lets it be sent as if it were new. What is over by now, and told so, stays dead.

    Example: `funnelgate checks notices --state dead`
    """
    from checks import notices as table

    store, now = context.obj.store, datetime.now(UTC)
    known = sorted({one.name for one in context.obj.sinks})
    standing = table.delivery_status(store)
    sinks = _sinks(sink, [*known, *(one.sink for one in standing)])
    numbers = None if not ids else set(ids)
    _refuse_unknown(table.list_notices(store, ids=numbers) if numbers else [], numbers)
    if revive and state:
        raise UsageError("--revive is about the dead: leave --state out")
    revived = table.revive(store, now, sinks, numbers) if revive else None
    states = _states(state) if state else None if numbers else [table.NoticeState.WAITING, table.NoticeState.DEAD]
    found = table.list_notices(store, states=states, sinks=sinks, ids=numbers, limit=_MOST_LISTED)
    standing = [one for one in table.delivery_status(store) if sinks is None or one.sink in sinks]
    if as_json:
        document = {
            "sinks": [one.model_dump(mode="json") | {"configured": one.sink in known} for one in standing],
            "notices": [one.model_dump(mode="json") for one in found],
            **({} if revived is None else {"revived": revived}),
        }
        typer.echo(json.dumps(document, indent=1, ensure_ascii=False))
        return
    _print(standing, found, known, now)
    if revived is not None:
        typer.echo(f"{revived} to be sent again, with the next `funnelgate checks watch` or `run`")


def _sinks(names: list[str] | None, known: Sequence[str]) -> list[str] | None:
    """Return the sinks that are asked for; None: all.

    Raises:
        UsageError: one is neither in the settings nor in the store, with the nearest.
    """
    for name in names or ():
        if name not in known:
            raise UsageError(f"--sink {name!r}: there is no such sink; {nearest(name, known)}")
    return names or None


def _states(names: Sequence[str]) -> list[NoticeState]:
    """Return states by their names.

    Raises:
        UsageError: there is no such state, with the nearest.
    """
    from checks.notices import NoticeState

    known = [state.value for state in NoticeState]
    for name in names:
        if name not in known:
            raise UsageError(f"--state {name!r}: there is no such state; {nearest(name, known)}")
    return [NoticeState(name) for name in names]


def _refuse_unknown(found: Sequence[NoticeLine], numbers: set[int] | None) -> None:
    unknown = sorted((numbers or set()) - {one.id for one in found})
    if unknown:
        named = ", ".join(map(str, unknown))
        raise UsageError(f"there is no notice {named}; `funnelgate checks notices` lists those that wait or are dead")


def _print(standing: Sequence[SinkStatus], found: Sequence[NoticeLine], known: Sequence[str], now: datetime) -> None:
    """Print lines, not a table: an id must be copied, and an error has no width that fits a column."""
    from rich.console import Console

    console = Console(soft_wrap=True, highlight=False)
    for text in (*(_of_sink(one, known, now) for one in standing), *_listed(found)):
        console.print(text, markup=False)
    if not standing:
        console.print("no notice was ever written")
    if len(found) == _MOST_LISTED:
        console.print(f"the latest {_MOST_LISTED:,} are listed; --sink and --state list fewer")


def _of_sink(one: SinkStatus, known: Sequence[str], now: datetime) -> str:
    from checks.incident_render import ago

    since = "" if one.oldest is None else f", the oldest for {ago(one.oldest, now)}"
    gone = "" if one.sink in known else " (not in the settings)"
    error = f"; last error: {' '.join(one.error.split())}" if one.error else ""
    return f"{one.sink}{gone}: {one.waiting} waiting{since}; {one.sent} sent; {one.dead} dead{error}"


def _listed(found: Sequence[NoticeLine]) -> Iterator[str]:
    for one in found:
        when = one.created_at if one.sent_at is None else one.sent_at
        tries = "never tried" if not one.attempts else f"tried {one.attempts} time{'' if one.attempts == 1 else 's'}"
        error = f": {' '.join(one.error.split())}" if one.error else ""
        head = f"{one.id:>6}  {one.state.value:7}  {when:%Y-%m-%d %H:%M}  {one.sink}  {one.event:11}  {one.episode}"
        yield f"{head}  {tries}{error}"
