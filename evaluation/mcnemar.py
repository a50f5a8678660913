"""McNemar's exact test: do two ways of answering the same questions differ, or was it luck?"""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict, Field

from reporting.errors import DataError


class McNemar(BaseModel):
    """Two paired shares and how sure their difference is.

    Attributes:
        n: Questions that both answered.
        both: Both right.
        only_first: Only the first right.
        only_second: Only the second right.
        neither: Both wrong.
        difference: (only_first - only_second) / n, in [-1, 1]: the first's accuracy less the second's; 0 for n = 0.
        p_value: Two-sided and exact; not corrected for the number of pairs compared.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    n: int = Field(ge=0)
    both: int = Field(ge=0)
    only_first: int = Field(ge=0)
    only_second: int = Field(ge=0)
    neither: int = Field(ge=0)
    difference: float = Field(ge=-1, le=1)
    p_value: float = Field(ge=0, le=1)


def mcnemar(first: Sequence[bool], second: Sequence[bool]) -> McNemar:
    """Compare two ways of answering, question by question.

    Assumes independent questions: several photos of one product count as several, which makes p too small.

    Args:
        first: Whether the first was right, one for each question.
        second: The same for the second, in the same order.

    Raises:
        DataError: They differ in length.

    Example:
        >>> mcnemar([True] * 6, [True] + [False] * 5).p_value
        0.0625
    """
    if len(first) != len(second):
        raise DataError(f"McNemar: {len(first)} answers against {len(second)}; expected one of each for every question")
    pairs = [(bool(one), bool(other)) for one, other in zip(first, second, strict=True)]
    only_first, only_second = pairs.count((True, False)), pairs.count((False, True))
    return McNemar(
        n=len(pairs),
        both=pairs.count((True, True)),
        only_first=only_first,
        only_second=only_second,
        neither=pairs.count((False, False)),
        difference=(only_first - only_second) / len(pairs) if pairs else 0.0,
        p_value=exact_p(only_first, only_second),
    )


def exact_p(only_first: int, only_second: int) -> float:
    """Return the two-sided p of so many questions for either side if a fair coin had decided each.

    min(1, 2 P(X <= the smaller)) with X binomial of n = only_first + only_second and 1/2 (McNemar 1947, without his
    normal approximation, which is too sure for few differences). Summed in whole numbers, so it is exact to rounding.

    Returns:
        In [0, 1]; 1 where the two never differ.

    Raises:
        ValueError: A count is negative.

    Example:
        >>> exact_p(0, 0), exact_p(1, 9)
        (1.0, 0.021484375)
    """
    if min(only_first, only_second) < 0:
        raise ValueError(f"counts {only_first} and {only_second} must not be negative")
    n, term, total = only_first + only_second, 1, 0
    for successes in range(min(only_first, only_second) + 1):
        total += term
        term = term * (n - successes) // (successes + 1)
    return 1.0 if 2 * total >= 1 << n else 2 * total / (1 << n)
