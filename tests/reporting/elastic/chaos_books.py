"""What the chaos is let loose on: records and plans in a store, and shippers as processes."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

from reporting.outbox_sql import SqlOutbox
from reporting.plans import Leaf, PlanKind, PlanState
from reporting.stores.sql import SqlStore
from reporting.testing import DAY, MOMENT, make_plan, make_record
from reporting.verdict import Outcome as Judgement
from reporting.verdict import Verdict

DAYS = tuple(DAY + timedelta(days=10 * n) for n in range(6))
"""In two months."""
REDONE = DAYS[1:3]
"""What the second plan does again."""
PATIENCE_SECONDS = 600.0


def book(store: SqlStore, number: int, *, first: int, seed: int) -> None:
    """Put records: about half are the first of their leaf, the others emitted again, or an attempt that comes late."""
    rng = random.Random(seed)
    version: dict[tuple[Any, ...], set[tuple[int, int]]] = {}
    put = 0
    while put < number:
        with store.begin() as work:
            for _ in range(min(2000, number - put)):
                place = first + (put if rng.random() < 0.6 else rng.randrange(put + 1))
                day = DAYS[place % len(DAYS)]
                planid = "rerun" if day in REDONE and rng.random() < 0.5 else "daily"
                taken = version.setdefault((place, planid), set())
                attempt, emit = rng.randint(1, 4), 0
                while (attempt, emit) in taken:
                    emit += 1
                taken.add((attempt, emit))
                dropped = {"blurred": put % 3, "low_score": 1}
                key: dict[str, Any] = {
                    "date": day,
                    "category": f"c{place % 7}",
                    "subinstance": f"{place:06}",
                    "planid": planid,
                }
                work.put_record(make_record(**key, input=10 + put % 90, dropped=dropped, attempt=attempt, emit=emit))
                put += 1


def plan_changes(seed: int) -> list[Callable[[SqlStore], None]]:
    """Return what happens to the plans, in order; each is done while the rest is shipped."""

    def put(planid: str, **changes: Any) -> Callable[[SqlStore], None]:
        def act(store: SqlStore) -> None:
            with store.begin() as work:
                work.put_plan(make_plan(planid, **{"dates": REDONE, **changes}))

        return act

    def judge(store: SqlStore) -> None:
        with store.begin() as work:
            work.put_verdict(
                Verdict(
                    verdict_id=f"v{seed}",
                    date=DAY,
                    planid="daily",
                    outcome=Judgement.PASS,
                    inputs={"index": "abc"},
                    decided_at=MOMENT,
                )
            )

    def remove(store: SqlStore) -> None:
        with store.begin() as work:
            for number in range(50):
                work.put_record(make_record("gone", subinstance=f"{number}", planid="test"))
        store.delete_plan_records("test")

    soon = MOMENT + timedelta(hours=1)
    return [
        put("daily", dates=DAYS, completed_at=soon),
        put("rerun", kind=PlanKind.RERUN, completed_at=soon, promoted_at=soon),
        judge,
        put("late", kind=PlanKind.RERUN, completed_at=soon, promoted_at=soon + timedelta(hours=1)),
        remove,
        put("late", kind=PlanKind.RERUN, state=PlanState.ABANDONED),
        put("rerun", kind=PlanKind.RERUN, dates=REDONE[:1], completed_at=soon, promoted_at=soon),
    ]


def begin(store: SqlStore, leaves: int) -> None:
    with store.begin() as work:
        work.put_plan(make_plan(dates=DAYS))
        work.put_plan(make_plan("rerun", PlanKind.RERUN, dates=REDONE))
        work.expect("daily", [Leaf("quality", DAYS[n % len(DAYS)], f"c{n % 7}", f"{n:06}") for n in range(leaves)])


class Shipping:
    """A shipper process that can be ended and begun again."""

    def __init__(self, store_url: str, elastic_url: str, prefix: str, folder: Path, name: str) -> None:
        self._arguments = [store_url, elastic_url, prefix]
        self._report = folder / f"{name}.json"
        self._ready = folder / f"{name}.ready"
        self._log = folder / f"{name}.log"
        self._process: subprocess.Popen[bytes] | None = None
        self.delivered = 0
        self.peak_bytes = 0

    def begin(self, skew: float = 0.0) -> None:
        module = [sys.executable, "-m", "tests.reporting.elastic.chaos_shipper"]
        self._ready.unlink(missing_ok=True)
        arguments = [*self._arguments, str(skew), str(self._report), str(self._ready)]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen([*module, *arguments], stderr=log)

    def look(self) -> None:
        """Note the greatest memory it has ever had; it must be alive."""
        assert self._process is not None
        assert self._process.poll() is None, self._log.read_text()
        for line in Path(f"/proc/{self._process.pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                self.peak_bytes = max(self.peak_bytes, int(line.split()[1]) * 1024)

    def kill(self) -> None:
        self.look()
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        self._process = None

    def end(self) -> None:
        """End it as an operator does; before it listens to signals, SIGTERM would kill it instead."""
        self.look()
        while not self._ready.exists():
            self.look()
            time.sleep(0.02)
        assert self._process is not None
        process, self._process = self._process, None
        process.terminate()
        assert process.wait(60) == 0, self._log.read_text()
        self.delivered += json.loads(self._report.read_text())["delivered"]

    def give_up(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()


def until(outbox: SqlOutbox, at_most: int) -> None:
    """Wait until not more than this waits."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while (status := outbox.status()).pending > at_most:
        assert time.monotonic() < deadline, status
        time.sleep(0.05)
