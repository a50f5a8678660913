"""The table of notices: one row for each thing to tell and each sink that hears of it.

Rows are written in the transaction of the incidents they tell of, so that a crash between judging and sending loses
and doubles nothing; `checks.deliver` takes them to the sinks. A row is never deleted: it says what was told, and when.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict
from sqlalchemy import Connection, func, select, update
from sqlalchemy.dialects import postgresql, sqlite

from checks.incidents import Event, NoticeDraft
from checks.sinks.base import Notice
from checks.sinks.settings import SinkSettings
from reporting.stores.sql import SqlStore
from reporting.stores.sql_work import insert_new, iso
from reporting.tables import lease, notice


class NoticeState(StrEnum):
    """Where a notice stands."""

    WAITING = "waiting"
    SENT = "sent"
    DEAD = "dead"
    """Refused, or not to be delivered within a day; it stays for `revive`."""


class SinkStatus(BaseModel):
    """How a sink's notices stand.

    Attributes:
        sink: Its name; it may be gone from the settings.
        waiting: Notices to be sent.
        oldest: When the oldest of them was written; None where none waits.
        sent: Notices sent so far.
        dead: Notices put aside.
        error: Of the latest notice that failed; "" where none of those that are not sent has.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    sink: str
    waiting: int
    oldest: datetime | None
    sent: int
    dead: int
    error: str


class NoticeLine(BaseModel):
    """One notice as a list of them shows it.

    Attributes:
        id: Its number in the store, by which a command names it.
        notice_id: What the other side knows it by.
        sink: To whom.
        episode: Of which incident.
        event: What happened.
        state: Where it stands.
        attempts: How often it was tried.
        created_at: When it was written, or revived.
        available_at: Before then it is not tried again.
        sent_at: When it was taken; None where it was not.
        error: What the latest attempt met; None where it met nothing.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: int
    notice_id: str
    sink: str
    episode: str
    event: str
    state: NoticeState
    attempts: int
    created_at: datetime
    available_at: datetime
    sent_at: datetime | None
    error: str | None


def drafts_to_rows(
    drafts: Sequence[NoticeDraft], sinks: Sequence[SinkSettings], now: datetime, told: Collection[tuple[str, str]]
) -> list[dict[str, Any]]:
    """Return the rows for what is to be told: one for each draft and each sink that hears of it. Pure.

    A sink hears of what has one of its severities. What it has heard of it hears on, whatever the severity became:
    who was woken is told that it is over. An acknowledgement or resolve of what a sink never heard of is left out.

    Args:
        drafts: What happened, in order.
        sinks: Those of the settings.
        now: When; aware.
        told: (sink, episode) of every notice before.
    """
    heard = set(told)
    rows = []
    for draft in drafts:
        for sink in sinks:
            known = (sink.name, draft.episode) in heard
            news = draft.event not in (Event.ACKNOWLEDGE, Event.RESOLVE)
            if not known and not (news and draft.incident.severity.value in sink.severities):
                continue
            heard.add((sink.name, draft.episode))
            rows.append(row_of(draft, sink.name, now))
    return rows


def row_of(draft: NoticeDraft, sink: str, now: datetime) -> dict[str, Any]:
    """Return the row of one notice for one sink."""
    return {
        "notice_id": f"{draft.name}|{sink}",
        "sink": sink,
        "episode": draft.episode,
        "event": draft.event.value,
        "body": draft.model_dump_json(),
        "created_at": iso(now),
        "attempts": 0,
        "available_at": now.timestamp(),
        "state": NoticeState.WAITING.value,
        "sent_at": None,
        "error": None,
    }


def queue_notices(
    connection: Connection, drafts: Sequence[NoticeDraft], sinks: Sequence[SinkSettings], now: datetime
) -> int:
    """Write the rows for what is to be told, in the caller's transaction; return how many there are, repeats included.

    A notice that is there already (the same episode, event, number and sink) is left as it is.
    """
    episodes = sorted({draft.episode for draft in drafts})
    c = notice.c
    before = select(c.sink, c.episode).where(c.episode.in_(episodes)).distinct()
    told = {(row.sink, row.episode) for row in connection.execute(before)} if episodes else set()
    rows = drafts_to_rows(drafts, sinks, now, told)
    if rows:
        connection.execute(insert_new(connection.dialect.name, notice), rows)
    return len(rows)


def next_of(connection: Connection, sink: str, now: datetime) -> Any | None:
    """Return the row to be sent next by a sink, or None.

    The oldest of those that are due, of each episode only the first that waits: a resolve never overtakes its trigger,
    and a trigger that must wait holds up its own episode only.

    Args:
        connection: To read by.
        sink: The sink's name.
        now: What is available later is not due.
    """
    c, other = notice.c, notice.alias()
    before = select(other.c.seq).where(
        other.c.sink == c.sink,
        other.c.episode == c.episode,
        other.c.state == NoticeState.WAITING.value,
        other.c.seq < c.seq,
    )
    due = (
        select(notice)
        .where(
            c.sink == sink,
            c.state == NoticeState.WAITING.value,
            c.available_at <= now.timestamp(),
            ~before.exists(),
        )
        .order_by(c.seq)
        .limit(1)
    )
    return connection.execute(due).first()


def notice_of(row: Any) -> Notice:
    """Return a row of the table as a sink reads it."""
    draft = NoticeDraft.model_validate_json(row.body)
    return Notice(
        notice_id=row.notice_id,
        sink=row.sink,
        event=draft.event,
        number=draft.number,
        incident=draft.incident,
        created_at=datetime.fromisoformat(row.created_at),
        attempts=row.attempts,
    )


def settle(connection: Connection, row: Any, **values: Any) -> bool:
    """Write what became of one attempt; False where another deliverer has settled the notice since `row` was read."""
    c = notice.c
    mine = (c.seq == row.seq, c.state == NoticeState.WAITING.value, c.attempts == row.attempts)
    done = connection.execute(update(notice).where(*mine).values(attempts=row.attempts + 1, **values))
    return bool(done.rowcount)


def hold_back(connection: Connection, sink: str, until: float) -> None:
    """Let all that waits for a sink wait until then (epoch seconds): the other side asked to be left alone."""
    c = notice.c
    mine = (c.sink == sink, c.state == NoticeState.WAITING.value, c.available_at < until)
    connection.execute(update(notice).where(*mine).values(available_at=until))


def bury_orphans(connection: Connection, sinks: Collection[str], written_before: datetime, error: str) -> int:
    """Put aside what waits for sinks that are not in the settings any more; return how many."""
    c = notice.c
    theirs = (
        c.state == NoticeState.WAITING.value,
        c.sink.not_in(sorted(sinks)),
        c.created_at < iso(written_before),
    )
    done = connection.execute(update(notice).where(*theirs).values(state=NoticeState.DEAD.value, error=error))
    return int(done.rowcount)


def lead(connection: Connection, name: str, owner: str, seconds: float, clock: float) -> bool:
    """Take or renew a lease; False while another owner holds it.

    Args:
        connection: Of a transaction.
        name: What is leased.
        owner: Who asks.
        seconds: For how long.
        clock: Seconds since the epoch, now.
    """
    insert = sqlite.insert(lease) if connection.dialect.name == "sqlite" else postgresql.insert(lease)
    row = insert.values(name=name, owner=owner, until=clock + seconds)
    # One statement, so that of two who ask while nobody leads one is told no.
    taken = row.on_conflict_do_update(
        index_elements=["name"],
        set_={"owner": row.excluded.owner, "until": row.excluded.until},
        where=(lease.c.owner == owner) | (lease.c.until <= clock),
    ).returning(lease.c.owner)
    return connection.execute(taken).scalar() is not None


def resign(connection: Connection, name: str, owner: str) -> None:
    """Give a lease back; nothing where it is another's."""
    connection.execute(lease.delete().where(lease.c.name == name, lease.c.owner == owner))


def delivery_status(store: SqlStore) -> list[SinkStatus]:
    """Return how the notices of each sink stand, sorted by sink: a sink that fails is itself something to see."""
    c = notice.c
    counts = select(c.sink, c.state, func.count(), func.min(c.created_at)).group_by(c.sink, c.state)
    failed = select(c.sink, c.error).where(c.error.is_not(None), c.state != NoticeState.SENT.value).order_by(c.seq)
    with store.read() as connection:
        rows = connection.execute(counts).all()
        errors = {row.sink: row.error for row in connection.execute(failed)}
    found: dict[str, dict[str, tuple[int, str]]] = {}
    for sink, state, count, oldest in rows:
        found.setdefault(sink, {})[state] = (count, oldest)
    return [
        SinkStatus(
            sink=sink,
            waiting=states.get(NoticeState.WAITING, (0, ""))[0],
            oldest=datetime.fromisoformat(states[NoticeState.WAITING][1]) if NoticeState.WAITING in states else None,
            sent=states.get(NoticeState.SENT, (0, ""))[0],
            dead=states.get(NoticeState.DEAD, (0, ""))[0],
            error=errors.get(sink, ""),
        )
        for sink, states in sorted(found.items())
    ]


def list_notices(
    store: SqlStore,
    *,
    states: Collection[NoticeState] | None = None,
    sinks: Collection[str] | None = None,
    ids: Collection[int] | None = None,
    limit: int | None = None,
) -> list[NoticeLine]:
    """Return notices, the latest first.

    Args:
        store: Whose.
        states: Only those that stand so; None: all.
        sinks: Only of these; None: of all.
        ids: Only these; None: any.
        limit: At most so many.
    """
    c = notice.c
    chosen = _chosen(sinks, ids)
    if states is not None:
        chosen.append(c.state.in_(sorted(state.value for state in states)))
    names = [name for name in NoticeLine.model_fields if name != "id"]
    columns = (c.seq.label("id"), *(c[name] for name in names))
    statement = select(*columns).where(*chosen).order_by(c.seq.desc()).limit(limit)
    with store.read() as connection:
        rows = connection.execute(statement).mappings().all()
    return [NoticeLine(**{**row, "available_at": datetime.fromtimestamp(row["available_at"], UTC)}) for row in rows]


def revive(
    store: SqlStore, now: datetime, sinks: Collection[str] | None = None, ids: Collection[int] | None = None
) -> int:
    """Let the dead be sent again, as if they were new; return how many.

    Those of an episode whose end the sink has been told since stay dead: they would open an alert that nothing ends.

    Args:
        store: Whose notices.
        now: They are due then, and have a day from then.
        sinks: Only of these; None: of all.
        ids: Only these; None: all.
    """
    c, later = notice.c, notice.alias()
    over = select(later.c.seq).where(
        later.c.sink == c.sink,
        later.c.episode == c.episode,
        later.c.event == Event.RESOLVE.value,
        later.c.state == NoticeState.SENT.value,
        later.c.seq > c.seq,
    )
    values = {
        "state": NoticeState.WAITING.value,
        "attempts": 0,
        "available_at": now.timestamp(),
        "created_at": iso(now.astimezone(UTC)),
        "error": None,
    }
    dead = update(notice).where(c.state == NoticeState.DEAD.value, ~over.exists(), *_chosen(sinks, ids))
    with store.begin() as work:
        return int(work.connection.execute(dead.values(values)).rowcount)


def _chosen(sinks: Collection[str] | None, ids: Collection[int] | None) -> list[Any]:
    found: list[Any] = [] if sinks is None else [notice.c.sink.in_(sorted(sinks))]
    return found if ids is None else [*found, notice.c.seq.in_(sorted(ids))]
