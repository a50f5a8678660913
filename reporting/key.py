"""The five-part key under which every task books its work."""

from __future__ import annotations

import hashlib
import unicodedata
from datetime import date as Date
from functools import lru_cache
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict

ALL = "all"
"""Value of a dimension by which a task does not split."""

KEY_PARTS = ("task", "date", "category", "subinstance", "planid")
"""The key's parts, always in this order."""

_FORBIDDEN = set('/\\|:*?"<>')
_CONTROL = {"Cc", "Zl", "Zp", "Cs"}
"""Unicode categories that steer a terminal, end a line, or (lone surrogates) have no UTF-8."""


@lru_cache(maxsize=1 << 14)  # a day of 9,000 records names some 400 things, seven in each record
def _safe_name(value: str) -> str:
    """Refuse values that would break a path, a document id or a log line."""
    if not value or len(value) > 128:
        raise ValueError(f"{value!r} must have 1 to 128 characters")
    if value[0] in ". " or value[-1] in ". ":
        raise ValueError(f"{value!r} must not begin or end with a dot or a blank")
    bad = _FORBIDDEN.intersection(value)
    if not value.isprintable():
        bad |= {character for character in value if unicodedata.category(character) in _CONTROL}
    if bad:
        raise ValueError(f"{value!r} contains {' '.join(map(repr, sorted(bad)))}, which a key part may not")
    return value


Name = Annotated[str, AfterValidator(_safe_name)]
"""A key part: 1-128 characters, usable as a folder name on every system."""


class RunKey(BaseModel):
    """(task, date, category, subinstance, planid): one leaf of one plan.

    Example:
        >>> key = RunKey(task="embed", date="2026-11-01", category="shoes", subinstance="0003", planid="p1")
        >>> str(key)
        'embed/2026-11-01/shoes/0003/p1'
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    task: Name
    date: Date
    category: Name = ALL
    subinstance: Name = ALL
    planid: Name

    def __str__(self) -> str:
        return "/".join(self.parts())

    def parts(self) -> tuple[str, str, str, str, str]:
        """Return the five parts as text, in the key's order."""
        return (self.task, self.date.isoformat(), self.category, self.subinstance, self.planid)

    def document_id(self) -> str:
        """Return the id of the record's document: a pure function of the key (32 hex characters)."""
        return hashlib.sha256("|".join(self.parts()).encode()).hexdigest()[:32]
