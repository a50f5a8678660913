"""What other folders tell the page, as plain values: pictures, incidents, verdicts, releases.

Adapters in the folders (`checks/cards.py`, `evaluation/cards.py`, `pipeline/cards.py`) answer plain mappings; the
composition root validates them into these, so that nothing is shared but names. Text is shown escaped, never run.
Times are aware, in UTC; what is not known is None, and what is empty is "" or ().
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date as Date
from datetime import datetime

from pydantic import BaseModel, ConfigDict


class Card(BaseModel):
    """What all of them are: frozen, and nothing in them that is not declared."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Picture(Card):
    """A picture small enough to stand in a page."""

    image: str | None
    """`data:image/jpeg;base64,...`; None where there is none to show."""
    title: str
    note: str = ""
    """Why there is no picture, or only a part of it."""


class Shown(Card):
    """One item of a gallery, beside the one that it was judged against."""

    item: str
    """Its id: a hash, or the id of its row."""
    package: str = ""
    category: str = ""
    detail: str = ""
    """One sentence: why it went, or why it stays."""
    offer: str = ""
    picture: Picture
    other: Picture | None = None
    """The survivor of a duplicate, or what stays instead."""
    other_says: str = ""
    distance: int | None = None
    """Bits in which the two hashes differ."""


class Gallery(Card):
    """Some of the items that a task dropped for one reason, or kept."""

    task: str
    reason: str
    """As in the record; "" for a sample of what the task kept."""
    count: int
    """All such items of the day."""
    shown: tuple[Shown, ...]
    note: str = ""
    """How they were chosen, or why none can be shown."""


class Cause(Card):
    """Leaves that explain a part of a break."""

    where: str
    """`subinstance=17, category in {bags, shoes}`."""
    values: Mapping[str, tuple[str, ...]] = {}
    """The same: dimension to values; a dimension that is not named is not restricted."""
    missing: float
    """In the incident's unit; below 0: too many."""
    share: float
    """Of the whole break, 0..1."""


class Step(Card):
    """One line of an incident's timeline."""

    at: datetime
    kind: str
    who: str
    why: str


class Impacted(Card):
    """What else is broken for the same cause."""

    check: str
    instance: str
    task: str
    severity: str
    sentence: str
    episode: str | None = None


class IncidentCard(Card):
    """One incident; lists of them leave `history` empty."""

    episode: str
    state: str
    """pending, firing, acknowledged, recovering, resolved, superseded or expired."""
    severity: str
    """page or warn."""
    is_open: bool
    check: str
    kind: str
    instance: str
    task: str
    source: str | None = None
    """The other end of a broken relation, `source -> task`."""
    date: Date
    planids: tuple[str, ...] = ()
    group: Mapping[str, str] = {}
    """Dimension to value, for what the check groups by."""
    value: float | None = None
    expected: float | None = None
    tolerance: float | None = None
    unit: str = ""
    reason: str
    sentence: str = ""
    """Where it sits; "" where nothing was localised."""
    repair: str = ""
    """The command that mends it; "" where there is none."""
    causes: tuple[Cause, ...] = ()
    impact: tuple[Impacted, ...] = ()
    more_impact: int = 0
    cause: str | None = None
    """Episode of the incident that explains this one."""
    storm: str | None = None
    members: tuple[str, ...] = ()
    opened_at: datetime
    updated_at: datetime
    closed_at: datetime | None = None
    closed_by: str = ""
    note: str = ""
    acknowledged: str = ""
    owner: str | None = None
    runbook: str | None = None
    holds: tuple[str, ...] = ()
    history: tuple[Step, ...] = ()
    """Oldest first."""
    links: tuple[tuple[str, str], ...] = ()
    """Name and address."""


class CheckLine(Card):
    """One result of a run of the checks."""

    check: str
    kind: str
    instance: str
    task: str
    status: str
    """pass, warn, fail, not_evaluated or error."""
    reason: str


class CheckDay(Card):
    """The latest run of the checks over one day."""

    run_id: str
    as_of: datetime
    status: str
    counts: Mapping[str, int]
    """Status to number of results."""
    lines: tuple[CheckLine, ...] = ()
    """Those that did not pass, the worst first."""


class RuleCard(Card):
    """One rule of a verdict."""

    id: str
    metric: str
    slice: str
    vs: str | None = None
    status: str
    value: float | None = None
    low: float | None = None
    high: float | None = None
    limit: float | None = None
    n: int | None = None
    reason: str


class VerdictCard(Card):
    """One verdict of the gate."""

    verdict_id: str
    date: Date
    planid: str
    outcome: str
    """PASS, FAIL or INCONCLUSIVE."""
    decided_at: datetime
    metrics: Mapping[str, float]
    rules: tuple[RuleCard, ...]
    report: str | None = None
    """Where its page lies, as an address or a path relative to the project."""


class ReleasedCategory(Card):
    """One category of a release."""

    category: str
    model: str
    space: str
    codec: str
    rows: int
    bytes: int | None = None
    nprobe: int
    index: str


class ReleaseCard(Card):
    """One release."""

    number: int
    parent: int | None = None
    date: Date | None = None
    planid: str = ""
    verdict_id: str = ""
    created_at: datetime | None = None
    rows: int
    categories: tuple[ReleasedCategory, ...] = ()
    marks: tuple[str, ...] = ()
    """`current`, `champion`, `pinned`, `files swept`."""
    note: str = ""
    """What people decided about it: a waiver, a rollback."""


class DayRows(Card):
    """What one day gives to a category's index."""

    category: str
    date: Date
    rows: int
    is_tail: bool
    """The day lies before the window: only representatives are left."""


class WindowCard(Card):
    """Which days serve, and what each gives."""

    days: tuple[DayRows, ...] = ()
    facts: tuple[tuple[str, str], ...] = ()
    """Further lines: length of the window, representatives, takedowns."""


class StorageCard(Card):
    """Bytes of one kind of file."""

    name: str
    files: int
    bytes: int
    note: str = ""


class EvictionReason(Card):
    """What evict decided for one reason."""

    reason: str
    keeps: bool
    count: int
    shown: tuple[Shown, ...] = ()


class EvictionCard(Card):
    """One day of evict: what goes first, then what stays."""

    date: Date
    sections: tuple[EvictionReason, ...] = ()
    facts: tuple[tuple[str, str], ...] = ()


class UnitCard(Card):
    """One attempt of a unit of work; a unit that never began has attempt 0."""

    task: str
    category: str
    subinstance: str
    planid: str
    state: str
    """Of the unit: waiting, ready, running, done or failed."""
    attempt: int
    worker: str = ""
    outcome: str = ""
    """done, failed or lost; "" while it runs."""
    error: str = ""
    started_at: datetime | None = None
    finished_at: datetime | None = None


class LogCard(Card):
    """One line of the log that carries a run key."""

    task: str
    category: str
    subinstance: str
    planid: str
    at: datetime
    level: str
    text: str
