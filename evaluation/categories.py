"""How often an object goes to its true category, by detector, by vote and by both, and what is mistaken for what."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import combinations

from pydantic import BaseModel, ConfigDict, Field

from evaluation.mcnemar import McNemar, mcnemar
from evaluation.result import MetricValue
from evaluation.stats import wilson_interval
from reporting.errors import DataError


class CategoryShare(BaseModel):
    """One category, as one voter saw it.

    Attributes:
        category: Of the truth, or one that was only ever answered.
        recall: Share of its objects that the voter put there; n is 0 for a category that is only answered.
        precision: Share of the objects put there that belong there; n is 0 where none was.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    category: str
    recall: MetricValue
    precision: MetricValue


class VoterResult(BaseModel):
    """What one voter was worth.

    Attributes:
        voter: Its name, e.g. `fusion`.
        accuracy: Share of all objects put into their category. One that it did not answer ("") counts as wrong.
        unanswered: Such objects.
        categories: By name.
        confusion: True category to answered category ("" for none) to objects; cells of 0 are left out.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    voter: str
    accuracy: MetricValue
    unanswered: int = Field(ge=0)
    categories: tuple[CategoryShare, ...]
    confusion: Mapping[str, Mapping[str, int]]


class VoterPair(BaseModel):
    """Two voters over the same objects.

    Attributes:
        first: A voter.
        second: Another.
        test: `difference` is the first's accuracy less the second's.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    first: str
    second: str
    test: McNemar


class CategoryResult(BaseModel):
    """All voters over the same objects.

    Attributes:
        n: Objects.
        voters: In the order given.
        pairs: Each voter with each later one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    n: int = Field(ge=0)
    voters: tuple[VoterResult, ...]
    pairs: tuple[VoterPair, ...]

    def voter(self, name: str) -> VoterResult | None:
        """Return a voter by name, None if it was not asked."""
        return next((one for one in self.voters if one.voter == name), None)

    def pair(self, first: str, second: str) -> McNemar | None:
        """Return the comparison of two voters in this order, None if they were not compared so."""
        return next((one.test for one in self.pairs if (one.first, one.second) == (first, second)), None)


def measure_categories(truth: Sequence[str], answers: Mapping[str, Sequence[str]]) -> CategoryResult:
    """Measure voters that were asked about the same objects.

    Args:
        truth: The true category of each object, never "".
        answers: Voter to its answer for each object, in the same order; "" where it had none.

    Raises:
        DataError: A voter answered about another number of objects, or an object has no true category.
    """
    if "" in truth:
        raise DataError(f"object {list(truth).index('')} has no true category; leave it out or label it")
    for voter, answered in answers.items():
        if len(answered) != len(truth):
            raise DataError(f"voter {voter}: {len(answered)} answers about {len(truth)} objects; expected one for each")
    are_right = {
        voter: [one == other for one, other in zip(answered, truth, strict=True)] for voter, answered in answers.items()
    }
    return CategoryResult(
        n=len(truth),
        voters=tuple(_voter(voter, truth, answered) for voter, answered in answers.items()),
        pairs=tuple(
            VoterPair(first=one, second=other, test=mcnemar(are_right[one], are_right[other]))
            for one, other in combinations(answers, 2)
        ),
    )


def _voter(voter: str, truth: Sequence[str], answered: Sequence[str]) -> VoterResult:
    cells = Counter(zip(truth, answered, strict=True))
    shown, said = Counter(truth), Counter(answered)
    names = sorted((shown.keys() | said.keys()) - {""})
    return VoterResult(
        voter=voter,
        accuracy=_share("accuracy", sum(cells[name, name] for name in names), len(truth)),
        unanswered=said[""],
        categories=tuple(
            CategoryShare(
                category=name,
                recall=_share("recall", cells[name, name], shown[name]),
                precision=_share("precision", cells[name, name], said[name]),
            )
            for name in names
        ),
        confusion={
            true: {answer: cells[true, answer] for answer in sorted(said) if cells[true, answer]}
            for true in sorted(shown)
        },
    )


def _share(name: str, right: int, n: int) -> MetricValue:
    low, high = wilson_interval(right, n)
    return MetricValue(name=name, value=right / n if n else 0.0, n=n, ci_low=low, ci_high=high, interval="wilson")
