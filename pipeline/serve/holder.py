"""What a server holds: up to two generations, of which one is active, and the polling that brings in the next.

Queries pin a generation for their whole length; a release is loaded, verified and warmed beside the one that serves,
and then swapped in by changing one number. Whatever is wrong with it, the old one goes on serving.
"""

from __future__ import annotations

import datetime as dt
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.release.manifest import ReleaseManifest
from pipeline.release.pointer import current, release_of
from pipeline.serve.choosing import choose
from pipeline.serve.holder_status import HolderStatus, Refreshed, Refused, SlotStatus
from pipeline.serve.loader import Served, open_release, require_golden, require_memory, verify_release, warm
from pipeline.serve.memory import free_memory
from pipeline.serve.slots import Lease, Move, Slots, State
from pipeline.serve.turned_away import NotReady, UnknownGeneration
from reporting.errors import FunnelgateError, UsageError

__all__ = ["Holder", "HolderStatus", "Refreshed", "Refused", "Served", "SlotStatus"]


def _said(error: Exception) -> str:
    """Return an error for people: one that is not ours with its kind, for its words alone may say little."""
    return str(error) if isinstance(error, FunnelgateError) else f"{type(error).__name__}: {error}".removesuffix(": ")


def _utc_now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


class Holder:
    """Two generations and the way from a pointer to the next one; safe for any number of threads.

    Example:
        >>> from tempfile import mkdtemp
        >>> holder = Holder(Path(mkdtemp()))
        >>> holder.refresh().outcome
        'nothing'
        >>> with holder.pin() as served:  # doctest: +IGNORE_EXCEPTION_DETAIL
        ...     pass
        Traceback (most recent call last):
        pipeline.serve.turned_away.NotReady: ...
    """

    def __init__(
        self,
        home: Path,
        *,
        golden: bool = True,
        allow_without_golden: bool = False,
        now: Callable[[], dt.datetime] = _utc_now,
        free_bytes: Callable[[], int | None] = free_memory,
        drain_seconds: float = 30.0,
        retry_seconds: float = 60.0,
    ) -> None:
        """Start empty; `refresh` brings in what is current.

        Args:
            home: Folder of the releases: a lake, or what a consumer pulls into.
            golden: Probe and ask the golden queries before a swap; False only where somebody else has done so.
            allow_without_golden: Let in a release that has no golden queries though it could have; one of before there
                were any is let in always.
            now: Clock, aware.
            free_bytes: How much memory may be taken, None: unknown, and then there is no check.
            drain_seconds: How long queries of a generation may hold up the next but one before they fail, > 0.
            retry_seconds: How long a refused release is left alone before it is looked at again, >= 0.
        """
        self._home = home
        self._golden = golden
        self._allow_without_golden = allow_without_golden
        self._now = now
        self._free_bytes = free_bytes
        self._drain_seconds = drain_seconds
        self._retry = dt.timedelta(seconds=retry_seconds)
        self._lock = threading.Lock()  # of what follows; held for a few assignments only
        self._slots = Slots()
        self._held: dict[tuple[int, int], Served] = {}  # by place and epoch
        self._swaps = 0
        self._refreshes = 0
        self._refused: Refused | None = None
        self._waiting: Served | None = None  # verified, and waits for room
        self._draining_since: dt.datetime | None = None
        self._loading = threading.Lock()  # one load at a time

    @property
    def is_ready(self) -> bool:
        """Whether a generation answers."""
        return self._slots.active is not None

    @contextmanager
    def pin(
        self, generation: int | None = None, space_id: str | None = None, category: str | None = None
    ) -> Iterator[Served]:
        """Hold one generation for one query, from its admission to its answer.

        Args:
            generation: Number of a release that is held; None: the active one.
            space_id: Feature space of the query's vector; None: the query is a picture. Without a number it leads to
                the generation that `pipeline.serve.choosing.choose` says.
            category: That the vector is to be searched in; None: every one of its space.

        Raises:
            NotReady: Nothing serves yet.
            UnknownGeneration: That release is not held.
            SpaceMismatch: No generation that may answer has the space, in that category.
            QueryExpired: At the end of the block: it outlived the deadline, so that its answer must not be used.
        """
        served, lease = self._pinned(generation, space_id, category)
        try:
            yield served
        finally:
            self._unpin(lease)

    def _pinned(self, generation: int | None, space_id: str | None, category: str | None) -> tuple[Served, Lease]:
        with self._lock:
            slots = self._slots
            if slots.active is None:
                reason = "" if self._refused is None else f": {self._refused.reason}"
                raise NotReady(f"{self._home}: no generation serves yet{reason}; publish a release and try again")
            if generation is None:
                order = [at for at in (slots.active, slots.spare) if at is not None]
            else:
                found = slots.of(generation)
                if found is None:
                    numbers = [slot.number for slot in slots.slots if slot.serves and slot.number is not None]
                    raise UnknownGeneration(generation, numbers)
                order = [found]
            held = [self._held[at, slots.slots[at].epoch] for at in order]
            chosen = choose(held, space_id, category)
            self._slots, lease = slots.pin(order[chosen])
            return held[chosen], lease

    def _unpin(self, lease: Lease) -> None:
        with self._lock:
            self._slots = self._slots.unpin(lease)
            self._forget()

    def rollback(self) -> int:
        """Let the other generation answer again, at once and without loading; return its number.

        The one rolled back from stays loaded; no poll brings it back, only a release with a higher number.

        Raises:
            UsageError: No other generation is held.
        """
        with self._lock:
            number = self._number(self._slots.spare)
            if self._slots.active is None or number is None:
                raise UsageError(
                    f"{self._home}: no other generation is held to go back to; publish a rollback "
                    "(`funnelgate release rollback`)"
                )
            self._slots = self._slots.swap()
            self._swaps += 1
            return number

    def status(self) -> HolderStatus:
        """Return what is held now."""
        with self._lock:
            slots = self._slots
            return HolderStatus(
                active=self._number(slots.active),
                previous=self._number(slots.spare),
                last=slots.last,
                slots=tuple(self._slot_status(at) for at in range(len(slots.slots))),
                swaps=self._swaps,
                refreshes=self._refreshes,
                refused=self._refused,
            )

    def refresh(self) -> Refreshed:
        """Look at the pointer and let in a release that is newer than every one before.

        Called by one thread every few seconds; a second call at the same time waits. What is wrong with the release
        is never raised but returned and kept in the status: what serves goes on.
        """
        with self._loading:
            self._refreshes += 1
            started = time.monotonic()
            try:
                manifest = current(self._home)
            except (FunnelgateError, OSError) as error:
                return self._refuse(None, _said(error))
            if manifest is None:
                return Refreshed(outcome="nothing")
            done = self._let_in(manifest)
            if done.outcome == "refused" and not self.is_ready:
                self._fall_back(manifest)
            seconds = time.monotonic() - started if done.outcome == "swapped" else 0.0
            return done.model_copy(update={"seconds": seconds})

    def _let_in(self, manifest: ReleaseManifest) -> Refreshed:
        number, last = manifest.number, self._slots.last
        if number == last:
            self._refused = None
            return Refreshed(outcome="unchanged", number=number)
        if number < last:
            return self._refuse(
                number,
                f"release {number} is older than {last}, which was served: a server never goes back by itself; "
                "publish a rollback, which has a higher number",
            )
        before = self._refused
        if before is not None and before.number == number and self._now() - before.at < self._retry:
            return Refreshed(outcome="refused", number=number, reason=before.reason)
        try:
            served = self._verified(manifest)
        except Exception as error:  # noqa: BLE001  whatever is wrong with a release, what serves goes on
            return self._refuse(number, _said(error))
        if not self._make_room():
            return Refreshed(outcome="draining", number=number, reason="queries of the last but one still run")
        return self._load(served)

    def _verified(self, manifest: ReleaseManifest) -> Served:
        """Verify a release, once where it must wait for room; and that there is memory for it now.

        Memory is looked at before anything is unloaded for it: a refused release never costs the one to go back to.
        """
        with self._lock:
            active = self._slots.active
            others = {at: one.generation for (at, _), one in self._held.items()}
        served, self._waiting = self._waiting, None
        if served is None or served.manifest != manifest:
            served = verify_release(self._home, manifest, loaded=others.values())
            if self._golden and not self._allow_without_golden:
                require_golden(manifest)
        leaving = [one for at, one in others.items() if at != active]
        staying = [one for at, one in others.items() if at == active]
        require_memory(served, self._free_bytes(), leaving=leaving, staying=staying)
        self._waiting = served
        return served

    def _load(self, served: Served) -> Refreshed:
        number = served.number
        self._waiting = None
        self._move(lambda slots: slots.load(number))
        loaded = False
        try:
            open_release(served)
            self._move(Slots.warm)
            if self._golden:
                warm(self._home, served)
            loaded = True
        except Exception as error:  # noqa: BLE001  whatever is wrong with a release, what serves goes on
            return self._refuse(number, _said(error))
        finally:
            if not loaded:
                self._move(Slots.fail)
        with self._lock:
            ready = self._slots.ready()
            assert ready.spare is not None
            self._held[ready.spare, ready.slots[ready.spare].epoch] = served
            self._slots = ready.swap()
            self._swaps += 1
            self._refused = None
        return Refreshed(outcome="swapped", number=number)

    def _make_room(self) -> bool:
        """Empty a slot, if that is possible without failing a query or its deadline is over."""
        with self._lock:
            slots = self._slots
            if slots.spare is not None and slots.active is not None:
                slots = slots.drain()
                self._draining_since = self._now()
            if any(slot.state is State.DRAINING for slot in slots.slots):
                since = self._draining_since or self._now()
                if (self._now() - since).total_seconds() >= self._drain_seconds:
                    slots = slots.expire()
            self._slots = slots
            self._forget()
            return any(slot.state is State.EMPTY for slot in slots.slots)

    def _fall_back(self, refused: ReleaseManifest) -> None:
        """At the first start, serve the release before the refused one; never one that was rolled back from."""
        if refused.parent is None or refused.rollback_to is not None:
            return
        why = self._refused
        try:
            before = self._verified(release_of(self._home, refused.parent))
        except Exception as error:  # noqa: BLE001  as above
            said = f"{'' if why is None else why.reason}; the one before it neither: {_said(error)}"
            self._refuse(refused.number, said)
            return
        if self._make_room() and self._load(before).outcome == "swapped":
            with self._lock:
                self._refused = why  # it is still the current one that was refused
            return
        self._refused = why

    def _refuse(self, number: int | None, reason: str) -> Refreshed:
        with self._lock:
            self._refused = Refused(number=number, reason=reason, at=self._now())
        return Refreshed(outcome="refused", number=number, reason=reason)

    def _move(self, move: Move) -> None:
        with self._lock:
            self._slots = move(self._slots)

    def _forget(self) -> None:
        """Let go of generations whose slots were emptied; a query that still runs keeps its own alive."""
        kept = {(at, slot.epoch) for at, slot in enumerate(self._slots.slots)}
        for key in self._held.keys() - kept:
            del self._held[key]

    def _number(self, at: int | None) -> int | None:
        return None if at is None else self._slots.slots[at].number

    def _slot_status(self, at: int) -> SlotStatus:
        slot = self._slots.slots[at]
        served = self._held.get((at, slot.epoch))
        entries = {} if served is None else served.manifest.categories
        return SlotStatus(
            state=slot.state,
            number=slot.number,
            queries=slot.queries,
            spaces={name: entry.space_id for name, entry in entries.items()},
            rows={name: entry.rows for name, entry in entries.items()},
            golden=None if served is None else self._golden and served.manifest.golden_path is not None,
        )
