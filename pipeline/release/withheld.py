"""Takedowns: what no answer may show, from the moment it is said, whatever the releases hold.

`WITHHELD.jsonl` only grows; a takedown that is lifted gets a line of its own. Serving asks `withheld` for each query:
that is two `stat` while the file stands still. Indexes go on holding what is withheld; the gate judges what is left.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator

from pipeline.release.home import home_at
from pipeline.release.journal import append_journal, read_journal
from pipeline.release.takedown_reader import GrowingList
from reporting.errors import UsageError

FILE = "WITHHELD.jsonl"
WHAT = "takedown"
Kind = Literal["item", "picture", "group", "offer"]
Reason = Literal["takedown", "delisted", "dead"]


class Withheld(BaseModel):
    """One line: a thing withheld, or let go again.

    Attributes:
        kind: What `value` names: an `item` (its id in the index, decimal), a `picture` (sha256 of its bytes), a
            `group` (product group) or an `offer` (`merchant/sku`; the merchant's name holds no slash).
        value: The thing.
        reason: `takedown` (must not be shown), `delisted` (no longer sold), `dead` (its page or picture is gone).
        by: Who says so.
        why: The reason in words.
        at: When, aware.
        lifted: True: it may be shown again.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Kind
    value: Annotated[str, Field(min_length=1)]
    reason: Reason = "takedown"
    by: Annotated[str, Field(min_length=1)]
    why: Annotated[str, Field(min_length=1)]
    at: AwareDatetime
    lifted: bool = False

    @model_validator(mode="after")
    def _names_a_thing(self) -> Withheld:
        if self.kind == "item" and not (self.value.isascii() and self.value.isdecimal()):
            raise ValueError(f"an item is named by its id in the index, a decimal number; found {self.value!r}")
        if self.kind == "picture" and (len(self.value) != 64 or set(self.value) - set("0123456789abcdef")):
            raise ValueError(f"a picture is named by the sha256 of its bytes; found {self.value!r}")
        if self.kind == "offer" and not all(self.value.partition("/")):
            raise ValueError(f"an offer is named merchant/sku; found {self.value!r}")
        return self


@dataclass(frozen=True)
class WithheldList:
    """What is withheld now.

    Attributes:
        items: Ids in the index.
        pictures: sha256 of pictures.
        groups: Product groups.
        offers: (merchant, sku).
        entries: The line that counts for each of them, oldest first.
    """

    items: frozenset[int] = frozenset()
    pictures: frozenset[str] = frozenset()
    groups: frozenset[str] = frozenset()
    offers: frozenset[tuple[str, str]] = frozenset()
    entries: tuple[Withheld, ...] = ()

    def __len__(self) -> int:
        """Return how many things are withheld."""
        return len(self.entries)

    @property
    def hides_anything(self) -> bool:
        """Whether there is anything that it keeps from answers."""
        return bool(self.items or self.pictures or self.groups or self.offers)

    @property
    def takedowns(self) -> WithheldList:
        """What of it is taken down, and not only delisted or dead: that must not even be kept."""
        return counted(one for one in self.entries if one.reason == "takedown")

    def offers_left(
        self, item: int, picture: str, group: str, offers: Sequence[Mapping[str, Any]]
    ) -> tuple[Mapping[str, Any], ...]:
        """Return which offers of an index's row may be shown: the one rule, for answers as for the gate.

        A withheld item or picture takes all of them, a withheld group or offer those that it names: a row that stands
        for two products still shows the other one. A row that none is left of must not be shown.

        Args:
            item: Id of the row.
            picture: sha256 of its picture.
            group: Product group of the row, for offers that name none of their own.
            offers: Each with `merchant`, `sku` and perhaps `group`.
        """
        if item in self.items or picture in self.pictures:
            return ()
        return tuple(one for one in offers if not self._withholds(one, group))

    def _withholds(self, offer: Mapping[str, Any], group: str) -> bool:
        return offer.get("group", group) in self.groups or (offer["merchant"], offer["sku"]) in self.offers


def withheld(root: Path) -> WithheldList:
    """Return what is withheld under a root (a lake or a consumer's home); nothing where there never was a file.

    The same object until the file changes (time, size or inode of it); then only what was added is parsed, once however
    many ask. In a home that follows signed releases only, a takedown stays although a line lifts it: such a line is not
    signed.

    Raises:
        StoreError: A line is not one of ours, or the file that this process has read before is gone, or is not the one
            read before and more: nothing may be shown before it is mended.
    """
    return _list_of(root).now()


def withheld_at(root: Path, moment: datetime) -> WithheldList:
    """Return what was withheld under a root at a moment, by the times that its lines name; see `withheld`.

    Raises:
        StoreError: A line is not one of ours.
    """
    home = home_at(root)
    lines = [line for line in read_journal(root / FILE, Withheld, WHAT) if line.at <= moment]
    return counted(lines, home is None or not home.signed)


@cache
def _list_of(root: Path) -> GrowingList[Withheld, WithheldList]:
    return GrowingList(root / FILE, Withheld, WHAT, counted)


def counted(lines: Iterable[Withheld], with_lifts: bool = True) -> WithheldList:
    """Return what is withheld after these lines, oldest first; the last line about a thing counts.

    Args:
        lines: Of the file.
        with_lifts: Whether lines that lift count; else they are passed over.
    """
    last: dict[tuple[Kind, str], Withheld] = {}
    for line in lines:
        if with_lifts or not line.lifted:
            last.pop((line.kind, line.value), None)
            last[line.kind, line.value] = line
    standing = [line for line in last.values() if not line.lifted]
    named: dict[Kind, list[str]] = {kind: [one.value for one in standing if one.kind == kind] for kind in _KINDS}
    offers = (value.partition("/") for value in named["offer"])
    return WithheldList(
        items=frozenset(map(int, named["item"])),
        pictures=frozenset(named["picture"]),
        groups=frozenset(named["group"]),
        offers=frozenset((merchant, sku) for merchant, _, sku in offers),
        entries=tuple(standing),
    )


_KINDS: tuple[Kind, ...] = ("item", "picture", "group", "offer")


def withhold(root: Path, entry: Withheld) -> None:
    """Withhold something, or let it go again (`lifted`); servers of this root see it with their next query.

    Raises:
        UsageError: It is to be lifted and is not withheld, or the root is a consumer's home.
        StoreError: The file's last line is not one of ours, or the disk refused.
    """
    if home_at(root) is not None:
        raise UsageError(
            f"{root}: is a consumer's home, whose takedowns come from its publisher: with a line of its own it could"
            " not go on from the publisher's list; say it in the publisher's lake, the next pull brings it"
        )
    if entry.lifted and (entry.kind, entry.value) not in {(one.kind, one.value) for one in withheld(root).entries}:
        raise UsageError(f"{root / FILE}: {entry.kind} {entry.value!r} is not withheld; there is nothing to lift")
    append_journal(root / FILE, entry, Withheld, WHAT, last_only=True)
