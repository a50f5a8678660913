"""What is compared, whatever it comes from: one value for each question, metric and system."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from evaluation.measured import Bools, Floats
from reporting.errors import UsageError, nearest


@dataclass(frozen=True, slots=True)
class SystemColumns:
    """One system's answers to n questions, as values.

    Attributes:
        name: Unique among those compared.
        values: Metric -> (n,) float64. Those that are tested lie in [0, 1]; a question without an answer has 0.
        answered: (n,) bool.
        lists: Anything hashable that is equal for two systems if and only if they gave the very same answers, so that
            there is nothing to be unsure of; "" where nobody can tell.
        seconds: (n,) float64, NaN unknown.
        ranks: (n,) int64, rank of the first relevant answer, 0 for none; None where there is no such thing.
        inputs: Name -> sha256 of what makes the answers.
        notes: Counts of what is odd about its answers (`missing`, `unknown`, ...), for the report.
    """

    name: str
    values: Mapping[str, Floats]
    answered: Bools
    lists: str = ""
    seconds: Floats | None = None
    ranks: NDArray[np.int64] | None = None
    inputs: Mapping[str, str] = field(default_factory=dict)
    notes: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Columns:
    """Everything that a comparison takes.

    Attributes:
        about: What they answered, for the report: a set's id, a qrels file.
        questions: n ids.
        clusters: n, the product of each; the questions of one product are not independent.
        slices: Slice -> (n,) bool; `all` always.
        shares: Metrics of which each value is 0 or 1.
        systems: At least two.
        tested: Metrics on which the systems are tested, the first of them the headline; each system has them.
        domains: (query domain, gallery domain), ("", "") where nobody said.
    """

    about: str
    questions: tuple[str, ...]
    clusters: tuple[str, ...]
    slices: Mapping[str, Bools]
    shares: frozenset[str]
    systems: tuple[SystemColumns, ...]
    tested: tuple[str, ...]
    domains: tuple[str, str] = ("", "")


def chosen(asked: Sequence[str], known: Sequence[str]) -> tuple[str, ...]:
    """Return the metrics asked for, each once.

    Raises:
        UsageError: One is not known, with the nearest that is; or none was asked for.
    """
    for name in asked:
        if name not in known:
            raise UsageError(f"metric {name!r} cannot be tested here; {nearest(name, known)}")
    if not asked:
        raise UsageError(f"no metric was named; expected some of: {', '.join(known)}")
    return tuple(dict.fromkeys(asked))


def unique_names(names: Sequence[str], given: Sequence[str]) -> tuple[str, ...]:
    """Return names to tell systems apart by: their own, where two are equal as they were given, then numbered.

    Args:
        names: What the systems are called.
        given: How the user named each: a path, an address.

    Example:
        >>> unique_names(["run", "run", "b"], ["x/run", "y/run", "b"]), unique_names(["a", "a"], ["a", "a"])
        (('x/run', 'y/run', 'b'), ('a', 'a (2)'))
    """
    told = [text if names.count(name) > 1 and text else name for name, text in zip(names, given, strict=True)]
    taken: set[str] = set()
    unique = []
    for name in told:
        number, fresh = 2, name
        while fresh in taken:
            fresh, number = f"{name} ({number})", number + 1
        taken.add(fresh)
        unique.append(fresh)
    return tuple(unique)
