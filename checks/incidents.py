"""An incident: one cause that somebody has to look at, from its first sight to its end.

Immutable: `checks.lifecycle` makes the next one from results, `checks.handling` from what a person says. Found again
by its fingerprint (check, instance, day; never the plan: a re-run is the same break); a break that comes back after
the end is a new episode, so that nobody's acknowledgement of last week hides it (alertmanager #3959; reference 2.1).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection
from datetime import date as Date
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveInt

from checks.result import Place, Result, Status
from reporting.key import ALL, Name
from reporting.plans import Leaf
from reporting.record import UtcTime

GROWTH = 1.5
"""A break that has become more than half as large again is told anew (reference 6.4)."""


PROVISIONAL = "provisional"
"""Key of `Result.details`: true where the plan that was judged is still at work, so that its counts may still move."""


class IncidentState(StrEnum):
    """Where an incident stands."""

    PENDING = "pending"
    """Seen once, on data that may still change: nobody has been told."""
    FIRING = "firing"
    ACKNOWLEDGED = "acknowledged"
    """Somebody has it: nothing is repeated, but a worsening is told."""
    RECOVERING = "recovering"
    """It has passed, on data that may still change or not often enough."""
    RESOLVED = "resolved"
    SUPERSEDED = "superseded"
    """Another plan's records took the place of those that were judged, and they pass."""
    EXPIRED = "expired"
    """Its day is too old to be judged any more."""

    @property
    def is_open(self) -> bool:
        """Whether it still wants something of somebody."""
        return self in OPEN_STATES


OPEN_STATES = (IncidentState.PENDING, IncidentState.FIRING, IncidentState.ACKNOWLEDGED, IncidentState.RECOVERING)


class Severity(StrEnum):
    """How much an incident matters: a result that warns warns, one that fails pages."""

    WARN = "warn"
    PAGE = "page"

    @property
    def rank(self) -> int:
        """0 for warn, 1 for page: to be compared."""
        return 1 if self is Severity.PAGE else 0


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Hold(_Frozen):
    """Leaves of one task that must wait: something upstream of them is broken and its check says `block: true`.

    Attributes:
        task: Downstream of the fault.
        date: The fault's business day.
        later_days: Whether the task's later days wait too: they read the day through a window.
        categories: None for all.
        subinstances: None for all.
    """

    task: Name
    date: Date
    later_days: bool = False
    categories: tuple[str, ...] | None = None
    subinstances: tuple[str, ...] | None = None

    def holds(self, leaf: Leaf) -> bool:
        """Tell whether a leaf, or a unit of work (`all` where it does not split), has any part in this."""
        return (
            leaf.task == self.task
            and (leaf.date == self.date or (self.later_days and leaf.date > self.date))
            and (self.categories is None or leaf.category in (ALL, *self.categories))
            and (self.subinstances is None or leaf.subinstance in (ALL, *self.subinstances))
        )


class Impact(_Frozen):
    """What else is broken for the same cause: it opens no incident of its own.

    Attributes:
        fingerprint: As of an incident.
        check: The check's id.
        kind: The check's.
        instance: As in the result.
        task: Where it shows.
        severity: Of this part alone.
        size: See `size_of`.
        reason: The result's.
        sentence: The result's.
        planids: Whose records were judged.
        holds: What waits for it, where its check says `block`; of an open incident they stand there.
        episode: Of its own incident, where that was open before the cause was known.
    """

    fingerprint: str
    check: str
    kind: str
    instance: str
    task: str
    severity: Severity
    size: float | None
    reason: str
    sentence: str = ""
    planids: tuple[str, ...] = ()
    holds: tuple[Hold, ...] = ()
    episode: str | None = None


class Snooze(_Frozen):
    """Silence that ends: at `until`, or with a worsening over what it was at that moment."""

    until: UtcTime
    by: str
    at: UtcTime
    why: str = ""
    severity: Severity
    size: float | None = None


class Said(_Frozen):
    """Who said something of an incident, when and why."""

    by: str
    at: UtcTime
    why: str = ""


class Waiver(Said):
    """Leave for what is downstream to go on, for a break of this severity and size; a worsening ends it."""

    severity: Severity
    size: float | None = None


class Notified(_Frozen):
    """What was last told, to see whether it has worsened since."""

    severity: Severity
    size: float | None = None


class Incident(_Frozen):
    """One episode of one cause.

    Attributes:
        episode: Fingerprint and first sight; the key everywhere, and the pager's key for de-duplication.
        fingerprint: 64 hexadecimal digits over check, instance and day.
        state: Where it stands.
        severity: The worst of the result and the impact.
        result: The latest that was broken: what, where, how much, the sentence and the repair.
        opened_at: First seen.
        updated_at: Last changed.
        fired_at: When it was first to be told; None while pending, or if it never was.
        closed_at: When it ended.
        closed_by: A person who ended it; "" where it ended by itself.
        note: Why it ended: `superseded by PLAN`, or the person's reason.
        benign: A person has said that what was found is as it should be: baselines may hold the day.
        revision: From 1, one more with each change.
        seen: Data and rules last judged: the same again count for nothing.
        as_of: Moment of the data last judged; older ones are ignored.
        failing: Evaluations with new data that broke since it last passed.
        passing: Evaluations with new data that passed since it last broke.
        planids: Whose records were judged.
        impact: What else is broken for it, sorted: at most 100, first what holds something and what pages.
        more_impact: How many more there were.
        cause: Episode of the incident that explains this one; it then tells nothing on its own.
        storm: Episode of the summary under which it was told, instead of on its own.
        members: Of a summary: the episodes under it.
        acknowledged: Who has it.
        snooze: Until when nothing is told.
        waiver: Who let the downstream tasks go on although it is not mended.
        block: Whether its check holds what is downstream while it fails.
        holds: What that is; what its impact holds stands there.
        owner: Who is told.
        runbook: Where to read on.
        notified: What was last told; None where nothing was.
        updates: Notices of a worsening so far.
        acknowledgements: Notices of an acknowledgement so far.
    """

    episode: str
    fingerprint: str
    state: IncidentState
    severity: Severity
    result: Result
    opened_at: UtcTime
    updated_at: UtcTime
    fired_at: UtcTime | None = None
    closed_at: UtcTime | None = None
    closed_by: str = ""
    note: str = ""
    benign: bool = False
    revision: PositiveInt = 1
    seen: str
    as_of: UtcTime
    failing: NonNegativeInt = 1
    passing: NonNegativeInt = 0
    planids: tuple[str, ...] = ()
    impact: tuple[Impact, ...] = ()
    more_impact: NonNegativeInt = 0
    cause: str | None = None
    storm: str | None = None
    members: tuple[str, ...] = ()
    acknowledged: Said | None = None
    snooze: Snooze | None = None
    waiver: Waiver | None = None
    block: bool = False
    holds: tuple[Hold, ...] = ()
    owner: str | None = None
    runbook: str | None = None
    notified: Notified | None = None
    updates: NonNegativeInt = 0
    acknowledgements: NonNegativeInt = 0

    @property
    def check(self) -> str:
        """The id of the check that broke."""
        return self.result.id

    @property
    def key(self) -> Place:
        """What broke."""
        return self.result.key

    @property
    def date(self) -> Date:
        """The business day."""
        return self.result.key.date

    @property
    def is_open(self) -> bool:
        """Whether it still wants something of somebody."""
        return self.state.is_open

    @property
    def size(self) -> float | None:
        """How large the break is, see `size_of`; a summary's members."""
        return float(len(self.members)) if self.members else size_of(self.result)

    def changed(self, now: datetime, **changes: Any) -> Incident:
        """Return the next revision."""
        return self.model_copy(update={**changes, "updated_at": now, "revision": self.revision + 1})

    def is_snoozed(self, now: datetime) -> bool:
        """Tell whether it is silent at a moment."""
        return self.snooze is not None and now < self.snooze.until

    def worsened_since(self, severity: Severity, size: float | None) -> bool:
        """Tell whether it is worse than it was: of a higher severity, or by more than half as large again."""
        if self.severity.rank > severity.rank:
            return True
        return self.size is not None and size is not None and self.size > GROWTH * size


class ActionKind(StrEnum):
    """What happened to an incident."""

    OPEN = "open"
    FIRE = "fire"
    WORSEN = "worsen"
    """It was told again: more severe, larger, or silent for long enough."""
    RELAPSE = "relapse"
    """It was recovering and broke again."""
    RECOVER = "recover"
    IMPACT = "impact"
    """What else is broken for it has changed."""
    ATTACH = "attach"
    """A cause upstream was found, or is gone again."""
    ACKNOWLEDGE = "acknowledge"
    SNOOZE = "snooze"
    WAKE = "wake"
    """A snooze has ended, by its time or by a worsening."""
    WAIVE = "waive"
    UNWAIVE = "unwaive"
    """It has worsened over what was waived."""
    RESOLVE = "resolve"
    SUPERSEDE = "supersede"
    EXPIRE = "expire"


class Action(_Frozen):
    """One line of an incident's history, which is only ever added to."""

    episode: str
    at: UtcTime
    kind: ActionKind
    who: str
    why: str = ""
    body: dict[str, Any] = Field(default_factory=dict)


class Event(StrEnum):
    """What a notice tells."""

    TRIGGER = "trigger"
    UPDATE = "update"
    ACKNOWLEDGE = "acknowledge"
    RESOLVE = "resolve"
    REMIND = "remind"
    """It has been firing for some time since it was last told, and nobody has it."""
    SUMMARY = "summary"
    """Too many at once: one trigger for all; its resolve comes when the last of them has ended."""


class NoticeDraft(_Frozen):
    """Something to tell, before it is known to whom.

    Attributes:
        episode: Of the incident.
        event: What happened.
        number: From 1 within an episode and event: the three together are said once.
        incident: As it was then.
    """

    episode: str
    event: Event
    number: PositiveInt
    incident: Incident

    @property
    def name(self) -> str:
        """Return what makes it unique: `EPISODE|EVENT|NUMBER`."""
        return f"{self.episode}|{self.event.value}|{self.number}"


def severity_of(result: Result) -> Severity:
    """Return how much a broken result matters."""
    return Severity.PAGE if result.status is Status.FAIL else Severity.WARN


def episode_of(fingerprint: str, first_seen: datetime) -> str:
    """Return an episode's id, of 32 characters and fit for a URL: it sorts by break, then by time."""
    return f"{fingerprint[:10]}-{first_seen:%Y%m%dT%H%M%S%f}Z"


def new_episode(fingerprint: str, now: datetime, taken: Collection[str]) -> str:
    """Return the id of an episode that begins now; one that ended and began within a microsecond has another id."""
    while (found := episode_of(fingerprint, now)) in taken:
        now += timedelta(microseconds=1)
    return found


def size_of(result: Result) -> float | None:
    """Return how large a break is, in the check's unit and >= 0; None where it has no size, as lateness has none.

    Value against expected, or what its causes lack and have too much, whichever is more: what one leaf lacks and
    another has too much cancels in the sum, and is broken all the same.
    """
    if result.kind == "fresh":  # it grows with the clock, which is no news
        return None
    sizes = [sum(abs(cause.missing) for cause in result.explain)] if result.explain else []
    if result.value is not None and result.expected is not None:
        sizes.append(abs(result.value - result.expected))
    return max(sizes, default=None)


def fingerprint_of(result: Result) -> str:
    """Return 64 hexadecimal digits over check, instance and day."""
    return hashlib.sha256(json.dumps(result.fingerprint(), ensure_ascii=False).encode()).hexdigest()
