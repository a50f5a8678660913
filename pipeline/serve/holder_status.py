"""What a server says about the generations it holds."""

from __future__ import annotations

from typing import Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict

from pipeline.serve.slots import State


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Refused(_Frozen):
    """A release that was not let in.

    Attributes:
        number: Of the release; None where the pointer itself cannot be read.
        reason: What is wrong with it, where, and what to do.
        at: When it was tried last.
    """

    number: int | None
    reason: str
    at: AwareDatetime


class Refreshed(_Frozen):
    """What one look at the pointer came to.

    Attributes:
        outcome: `nothing`: nothing was ever published; `unchanged`; `swapped`: a new generation serves; `refused`: the
            new one is not let in; `draining`: it waits for queries of the last but one.
        number: Of the release that it is about.
        reason: Why it was refused or waits; "" else.
        seconds: From the look to the swap; 0 where there was none.
    """

    outcome: Literal["nothing", "unchanged", "swapped", "refused", "draining"]
    number: int | None = None
    reason: str = ""
    seconds: float = 0.0


class SlotStatus(_Frozen):
    """One slot.

    Attributes:
        state: What it is at.
        number: Release held or being loaded; None where it is empty.
        queries: That run on it now.
        spaces: Feature space by category; empty until it serves.
        rows: Rows of its indexes by category; empty until it serves.
        golden: Whether it answered its golden queries before it served; False: it has none, so nobody knows that it
            answers here as it was judged. None until it serves.
    """

    state: State
    number: int | None
    queries: int
    spaces: dict[str, str]
    rows: dict[str, int]
    golden: bool | None = None


class HolderStatus(_Frozen):
    """What a server holds.

    Attributes:
        active: Release that answers; None before the first.
        previous: The other release that still answers who asks for it, and to which a rollback goes.
        last: Greatest number that was ever active; an older release is never loaded again.
        slots: Both slots.
        swaps: Swaps and rollbacks so far.
        refreshes: Looks at the pointer so far.
        refused: The release that was refused last, None where the one that is current was let in.
    """

    active: int | None
    previous: int | None
    last: int
    slots: tuple[SlotStatus, ...]
    swaps: int
    refreshes: int
    refused: Refused | None
