"""A spool as what a recorder writes to, and shipping what is in it beside other work."""

from __future__ import annotations

import atexit
import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from reporting.logs import logger
from reporting.outbox import Sink, Topic
from reporting.plans import Leaf, Plan
from reporting.record import TaskRecord
from reporting.segments import Fact
from reporting.shipper import ShipperThread
from reporting.spool import Spool
from reporting.stores.base import PutOutcome
from reporting.verdict import Verdict

_log = logger("recorder")
_LEAVES_PER_ENTRY = 5000


class SpoolStore:
    """The writing half of a `RecordStore` over a spool: nothing can be read back."""

    def __init__(self, spool: Spool):
        self.spool = spool

    @contextmanager
    def begin(self) -> Iterator[SpoolUnitOfWork]:
        """Open a unit of work; it is appended when the block ends, and forgotten when it raises.

        Raises:
            StoreError: it could not be appended; see `Spool.append`.
        """
        work = SpoolUnitOfWork(self.spool)
        yield work
        self.spool.append(work.facts)


class SpoolUnitOfWork:
    """Collects what one unit of work appends."""

    def __init__(self, spool: Spool):
        self.facts: list[Fact] = []
        self._spool = spool

    def put_record(self, record: TaskRecord) -> PutOutcome:
        """See `UnitOfWork.put_record`. Always STORED: whether it repeats or is older shows when it is shipped."""
        self.facts.append(Fact(Topic.RECORD, record.key.document_id(), record.version, record.model_dump_json()))
        return PutOutcome.STORED

    def put_plan(self, plan: Plan) -> None:
        """See `UnitOfWork.put_plan`. Its version is the clock's microseconds: of two hosts, the later clock wins.

        So clocks must agree better than two changes of one plan follow each other, and a plan that is kept in a SQL
        store, where versions count from 1, must not be put here too.
        """
        self.facts.append(Fact(Topic.PLAN, plan.planid, self._spool.stamp(), plan.model_dump_json()))

    def expect(self, planid: str, leaves: Iterable[Leaf]) -> None:
        """See `UnitOfWork.expect`."""
        found = [[leaf.task, leaf.date.isoformat(), leaf.category, leaf.subinstance] for leaf in leaves]
        for start in range(0, len(found), _LEAVES_PER_ENTRY):
            body = json.dumps({"planid": planid, "leaves": found[start : start + _LEAVES_PER_ENTRY]})
            self.facts.append(Fact(Topic.EXPECTED, planid, self._spool.stamp(), body))

    def put_verdict(self, verdict: Verdict) -> None:
        """See `UnitOfWork.put_verdict`. Its version is the clock's, as a plan's."""
        body = verdict.model_dump_json()
        self.facts.append(Fact(Topic.VERDICT, verdict.verdict_id, self._spool.stamp(), body))


class SpoolShipping:
    """A spool with a thread that ships it, for as long as the process lives or until it is closed.

    Args:
        spool: closed with it.
        open_sink: connects; None ships nothing.
        name: what messages call the other side.
    """

    def __init__(self, spool: Spool, open_sink: Callable[[], Sink] | None, name: str):
        self._spool = spool
        self._name = name
        self._thread = None if open_sink is None else ShipperThread(spool, open_sink)
        if self._thread is not None:
            self._thread.start()
            atexit.register(self.close)

    def close(self, flush_seconds: float = 10.0) -> None:
        """Ship what still waits, for at most about `flush_seconds`, and log what stays. Again: nothing."""
        thread, self._thread = self._thread, None
        if thread is not None:
            atexit.unregister(self.close)
            self._tell(thread.stop(flush_seconds).error)
        self._spool.close()

    def _tell(self, error: str) -> None:
        status = self._spool.status()
        folder = self._spool.folder
        if status.pending:
            _log.warning(
                "%d entries wait in the spool %s and are not yet at %s%s; the next recorder on this spool ships them",
                status.pending,
                folder,
                self._name,
                f" ({error})" if error else "",
            )
        if status.quarantined:
            _log.warning("%d entries were refused by %s; see %s", status.quarantined, self._name, folder / "dead")
