"""What a simulated year came to: three policies on equal arrivals, and what the numbers say in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, computed_field

from pipeline.evict.policy import EvictPolicy
from pipeline.evict.world import WorldSettings

SLICES: Final = ("head", "torso", "tail")
PolicyName = Literal["window", "keep_all", "ours"]
TITLES: Final[Mapping[PolicyName, str]] = {"window": "plain window", "keep_all": "keep all", "ours": "ours"}
"""The policies, and what a page calls them."""
Metric = Literal["recall", "hit_at_1", "hit_at_k"]
BySlice = dict[str, float | None]
_QUARTER = 4


class Sample(BaseModel):
    """Searches on one day, judged by the catalogue of record; see `labelled_search`.

    Attributes:
        day: From 1; judged at its end.
        queries: Of each slice.
        recall: Slice -> mean share of a product's live pictures among the first k, of min(k, all of them); None where
            there was no query.
        hit_at_1: Slice -> share of searches whose first picture is of the product.
        hit_at_k: Slice -> share with the product among the first k products.
    """

    model_config = ConfigDict(frozen=True)

    day: int
    queries: dict[str, int]
    recall: BySlice
    hit_at_1: BySlice
    hit_at_k: BySlice

    def of(self, metric: Metric) -> BySlice:
        """Return one metric, by slice."""
        values: BySlice = getattr(self, metric)
        return values


class Kept(BaseModel):
    """What one policy kept.

    Attributes:
        rows: Stored pictures at the end of each day.
        coverage: On each day, of the live product groups the share with at least one live picture stored; 1 where no
            group is live.
        lost: Live product groups without one at the end.
        samples: Searches, by rising day; the last one is on the last day.
    """

    model_config = ConfigDict(frozen=True)

    rows: tuple[int, ...]
    coverage: tuple[float, ...]
    lost: int
    samples: tuple[Sample, ...]

    @computed_field  # type: ignore[prop-decorator]
    @property
    def recall(self) -> BySlice:
        """Recall at the end, by slice."""
        return self.samples[-1].recall

    @computed_field  # type: ignore[prop-decorator]
    @property
    def hit_at_1(self) -> BySlice:
        """hit@1 at the end, by slice."""
        return self.samples[-1].hit_at_1

    @computed_field  # type: ignore[prop-decorator]
    @property
    def hit_at_k(self) -> BySlice:
        """hit@k at the end, by slice."""
        return self.samples[-1].hit_at_k


class Simulation(BaseModel):
    """A simulated year.

    Attributes:
        days: Its length.
        source: Of the vectors: `drawn`, or `samples` (real pictures through the shipped embedder).
        world: What kind of year.
        policy: Ours; the plain window has its `window_days`.
        k: Of recall and hit@k.
        sightings: Offers that were booked.
        pictures: Different pictures among them.
        live_groups: Live product groups at the end of each day: those with a live picture that has arrived.
        unseen_groups: Of those at the end, how many were last seen longer ago than the window.
        policies: By name: `window`, `keep_all`, `ours`.
        dropped: Why ours let pictures go, over all days: reason -> pictures. One that came back may go again.
    """

    model_config = ConfigDict(frozen=True)

    days: int
    source: str
    world: WorldSettings
    policy: EvictPolicy
    k: int
    sightings: int
    pictures: int
    live_groups: tuple[int, ...]
    unseen_groups: int
    policies: dict[PolicyName, Kept]
    dropped: dict[str, int]


def reading(found: Simulation) -> list[str]:
    """Return in sentences what the numbers say; nothing is said that they do not."""
    return [_on_rows(found), _on_growth(found), _on_coverage(found), *_on_searches(found)]


def _on_rows(found: Simulation) -> str:
    window, ours, everything = (found.policies[name].rows[-1] for name in ("window", "ours", "keep_all"))
    told = f"After {_count(found.days, 'day')} ours stores {_count(ours, 'picture')}"
    told += f", the plain window {window:,}, keep all {everything:,}"
    if window and everything:
        told += f": {ours / window:.2f} times the window's, {_percent(ours / everything)} of everything"
    return told + "."


def _on_growth(found: Simulation) -> str:
    last = found.days // _QUARTER
    before = found.days - 1 - last
    if not last or not all(kept.rows[before] for kept in found.policies.values()):
        return "The run is too short to say how the policies grow."
    grew = ", ".join(
        f"{title} {kept.rows[-1] / kept.rows[before] - 1:+.1%}".replace("%", " %")
        for name, title in TITLES.items()
        for kept in [found.policies[name]]
    )
    return f"Rows over the last {_count(last, 'day')}: {grew}."


def _on_coverage(found: Simulation) -> str:
    live = found.live_groups[-1]
    if not live:
        return "No product is live on the last day."
    lost = ", ".join(
        f"{kept.lost:,} ({_percent(kept.lost / live)}) with {'the ' if name == 'window' else ''}{title}"
        for name, title in TITLES.items()
        for kept in [found.policies[name]]
    )
    return (
        f"{_count(live, 'product')} {'is' if live == 1 else 'are'} live on the last day; {found.unseen_groups:,} of"
        f" them were last seen before the window of {_count(found.policy.window_days, 'day')}. Without a live picture"
        f" stored: {lost}."
    )


def _on_searches(found: Simulation) -> list[str]:
    lines = []
    for name in reversed(SLICES):
        window, ours, everything = (found.policies[one].hit_at_1[name] for one in ("window", "ours", "keep_all"))
        if window is None or ours is None or everything is None:
            continue
        lines.append(
            f"A search for a product of the {name} finds it first in {_percent(ours)} of cases with ours,"
            f" {_percent(window)} with the plain window ({_points(ours - window)}), {_percent(everything)} with keep"
            f" all ({_points(ours - everything)})."
        )
    return lines


def _points(difference: float) -> str:
    points = round(100 * difference, 1)
    if not points:
        return "no difference"
    return f"ours is {abs(points):.1f} points {'better' if points > 0 else 'worse'}"


def _percent(share: float) -> str:
    """Write a share to a tenth of a percent; what is neither none nor all is never rounded to it."""
    if 0 < share < 0.001:
        return "under 0.1 %"
    if 0.999 < share < 1:
        return "over 99.9 %"
    return f"{100 * share:.1f} %"


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"
