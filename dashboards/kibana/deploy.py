"""Puts dashboards into Kibana, one after the other, and says of each what came of it.

Each is read first: one that already is what it should be is left alone, so that a second deploy changes nothing. After
a PUT it is read again and compared, for Kibana may drop what it does not know. The first failure ends it.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Protocol

from pydantic import BaseModel, ConfigDict

from dashboards.kibana.catalogue import Built
from dashboards.kibana.client import Stored
from dashboards.kibana.models.base import Json, body_of
from dashboards.kibana.normal import differences
from reporting.errors import EXIT_FAILED, EXIT_OK, FunnelgateError


class Store(Protocol):
    """Where dashboards are kept: `client.Kibana`."""

    def get(self, board: str) -> Stored | None:
        """Return a dashboard, or None."""

    def put(self, board: str, body: Json) -> bool:
        """Make or replace one; return whether it is new."""


class Outcome(StrEnum):
    """What came of a dashboard."""

    UNCHANGED = "unchanged"
    CREATED = "created"
    REPLACED = "replaced"
    MISSING = "missing"
    """Would be created (dry run, diff)."""
    DIFFERS = "differs"
    """Would be replaced (dry run, diff)."""
    FAILED = "failed"
    """See `error`. After a PUT it stands, but not as it was sent."""
    NOT_TRIED = "not tried"
    """After a failure: as it was before."""


class BoardReport(BaseModel):
    """One dashboard."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    outcome: Outcome
    differences: list[str] = []
    """What stood there otherwise, before or (failed) after."""


class DeployReport(BaseModel):
    """All of them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dashboards: list[BoardReport]
    error: str | None = None
    """Why it ended early."""
    exit_code: int = EXIT_OK


def deploy(boards: Sequence[Built], store: Store) -> DeployReport:
    """Put all dashboards; nothing is raised that the store or the network does: the report says it."""
    done: list[BoardReport] = []
    for number, built in enumerate(boards):
        try:
            report, error, code = _deploy_one(built, store)
        except FunnelgateError as raised:
            report, error = BoardReport(id=built.id, outcome=Outcome.FAILED), str(raised)
            code = raised.exit_code
        done.append(report)
        if error is not None:
            rest = [BoardReport(id=one.id, outcome=Outcome.NOT_TRIED) for one in boards[number + 1 :]]
            return DeployReport(dashboards=[*done, *rest], error=error, exit_code=code)
    return DeployReport(dashboards=done)


def compare(boards: Sequence[Built], store: Store) -> DeployReport:
    """Say what a deploy would do; nothing is written.

    Raises:
        ConfigError, StoreError: Kibana cannot be read.
    """
    done = [_standing(built, store) for built in boards]
    same = all(one.outcome is Outcome.UNCHANGED for one in done)
    return DeployReport(dashboards=done, exit_code=EXIT_OK if same else EXIT_FAILED)


def _standing(built: Built, store: Store) -> BoardReport:
    stored = store.get(built.id)
    if stored is None:
        return BoardReport(id=built.id, outcome=Outcome.MISSING)
    differ = [*stored.warnings, *map(str, differences(body_of(built.dashboard), stored.data))]
    return BoardReport(id=built.id, outcome=Outcome.DIFFERS if differ else Outcome.UNCHANGED, differences=differ)


def _deploy_one(built: Built, store: Store) -> tuple[BoardReport, str | None, int]:
    """Return what came of a dashboard, and where it failed why, with the exit code."""
    before = _standing(built, store)
    if before.outcome is Outcome.UNCHANGED:
        return before, None, EXIT_OK
    created = store.put(built.id, body_of(built.dashboard))
    after = _standing(built, store)
    if after.outcome is Outcome.UNCHANGED:
        outcome = Outcome.CREATED if created else Outcome.REPLACED
        return BoardReport(id=built.id, outcome=outcome, differences=before.differences), None, EXIT_OK
    failed = BoardReport(id=built.id, outcome=Outcome.FAILED, differences=after.differences)
    return failed, f"{built.id}: Kibana took it, but gives back something else than was sent", EXIT_FAILED
