"""What a shard breaks of the contract that lets its rows lie beside others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from reporting.errors import ContractViolation


@dataclass(frozen=True, slots=True)
class Violation:
    """One broken clause.

    Attributes:
        shard: What breaks it, as messages name it: `shard shoes/2026-03-01`.
        field: Which clause: `sha256`, `rows`, `dim`, `nlist`, `fingerprint`, `codec`, `category`, `space_id`, `ids`,
            `id_blocks`, `keep_ids`, `rows_sha256`, `index`.
        found: What there is.
        expected: What there must be.
    """

    shard: str
    field: str
    found: str
    expected: str

    def __str__(self) -> str:
        return f"{self.shard}: {self.field} is {self.found}, expected {self.expected}"

    def as_json(self) -> dict[str, str]:
        """Return it as the command line prints it."""
        return {"shard": self.shard, "field": self.field, "found": self.found, "expected": self.expected}


def differing(shard: str, fields: Mapping[str, tuple[object, object]]) -> list[Violation]:
    """Return a violation for every field whose (found, expected) differ, in the mapping's order."""
    return [
        Violation(shard, field, str(found), str(expected))
        for field, (found, expected) in fields.items()
        if found != expected
    ]


def refuse(violations: Sequence[Violation], remedy: str) -> None:
    """Raise if there is a violation; the message names each shard and field, and what to do.

    Raises:
        ContractViolation: There is at least one (exit 1).
    """
    if violations:
        raise ContractViolation(f"{'; '.join(str(violation) for violation in violations)}; {remedy}")
