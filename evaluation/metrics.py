"""Retrieval metrics as pure functions on arrays: one value a query, unanswered queries score 0.

Two different things are called "recall@k" in print, so neither is called that alone here:

hit@k     any relevant product group among the first k distinct groups. Also Success@k, CMC@k, and the
          "Recall@k" of metric learning (Stanford Online Products).
recall@k  relevant pictures among the first k distinct pictures / relevant pictures findable in the catalogue.
          The recall of information retrieval (trec_eval's recall_k). A picture that the index lost stays in
          the denominator, so that losing it lowers the value.

Ties: neighbours in a list whose distances are within one millionth (relative) tie. Every metric is its worst value
over the orders of ties (the less relevant first), so that nobody gains by the order in which equal answers come
(evaluation-index-eviction.md, 4.2). To add a metric: a function of `Lists` and a row in `METRICS`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from evaluation.measured import Bools, Floats, Ranked
from evaluation.ties import best_first, relevant_at_cut, tie_blocks, worst_first
from reporting.errors import ConfigError

Grades = NDArray[np.int8]


def hit_at_k(relevant: Bools, k: int) -> Floats:
    """Return 1 for each query with a relevant group among the first k, else 0, in canonical order.

    Args:
        relevant: (n, m) bool by rank of distinct groups, False beyond a list's end; k > m is allowed.
        k: >= 1.

    Returns:
        (n,) float64, 0 or 1.

    Example:
        >>> hit_at_k(np.array([[False, True], [False, False]]), 2).tolist()
        [1.0, 0.0]
    """
    return np.asarray(relevant[:, :k].any(axis=1), np.float64)


def recall_at_k(relevant: Bools, findable: NDArray[np.int64], k: int) -> Floats:
    """Return relevant pictures among the first k / relevant pictures findable in the catalogue.

    At most k / findable: a product with 30 pictures cannot reach 1 at k = 10 (see `capped_recall_at_k`).

    Args:
        relevant: (n, w) bool by rank of distinct pictures, False beyond a list's end; k > w is allowed.
        findable: (n,) int64, counted in the catalogue of record, never in the index. A query with 0 scores 0
            and is not left out.
        k: >= 1.

    Returns:
        (n,) float64 in [0, 1].

    Raises:
        ValueError: More relevant pictures were retrieved than are findable: labels and catalogue disagree.
    """
    share = np.asarray(np.count_nonzero(relevant[:, :k], axis=1) / np.maximum(findable, 1), np.float64)
    if (over := np.flatnonzero(share > 1)).size:
        raise ValueError(f"query row {over[0]}: more relevant pictures retrieved than the {findable[over[0]]} findable")
    return share


def capped_recall_at_k(relevant: Bools, findable: NDArray[np.int64], k: int) -> Floats:
    """Return relevant pictures among the first k / min(k, findable); as `recall_at_k` otherwise (mteb's R_cap)."""
    return recall_at_k(relevant, np.minimum(findable, k), k)


def map_at_r(relevant: Bools, findable: NDArray[np.int64]) -> Floats:
    """Return MAP@R: the mean over the first R places, R findable pictures, of precision where a picture is relevant.

    Musgrave, Belongie, Lim, "A metric learning reality check", ECCV 2020. 0 where nothing is findable.

    Args:
        relevant: (n, w) bool by rank of distinct pictures.
        findable: (n,) int64.

    Returns:
        (n,) float64 in [0, 1].
    """
    places = np.arange(1, relevant.shape[1] + 1)
    counted = relevant & (places <= findable[:, None])
    precision = counted.cumsum(axis=1) / places
    return np.asarray((precision * counted).sum(axis=1) / np.maximum(findable, 1), np.float64)


def reciprocal_rank(relevant: Bools) -> Floats:
    """Return 1 / rank of each query's first relevant entry, 0 for none; (n,) float64 (trec_eval's recip_rank)."""
    rank = first_relevant_rank(relevant)
    return np.where(rank > 0, 1.0 / np.maximum(rank, 1), 0.0)


def ndcg_at_k(grades: Grades, findable: NDArray[np.int64], findable_same: NDArray[np.int64], k: int) -> Floats:
    """Return nDCG@k with gain = grade and discount log2(rank + 1), which is trec_eval's ndcg_cut_k.

    Jarvelin and Kekalainen, "Cumulated gain-based evaluation of IR techniques", TOIS 2002. The ideal list has every
    findable picture, grade 2 first, whether or not the index holds it.

    Args:
        grades: (n, w) int8 by rank of distinct pictures, <= 0 irrelevant.
        findable: (n,) int64.
        findable_same: (n,) int64: those of grade 2.
        k: >= 1.

    Returns:
        (n,) float64 in [0, 1]; 0 where nothing is findable.
    """
    discounts = 1.0 / np.log2(np.arange(2, k + 2))
    gains = np.maximum(grades[:, :k], 0)
    reached = gains @ discounts[: gains.shape[1]]
    upto = np.concatenate([[0.0], discounts.cumsum()])
    ideal = upto[np.minimum(findable, k)] + upto[np.minimum(findable_same, k)]
    return np.where(ideal > 0, np.minimum(reached / np.where(ideal > 0, ideal, 1.0), 1.0), 0.0)


def first_relevant_rank(relevant: Bools) -> NDArray[np.int64]:
    """Return the rank, from 1, of each query's first relevant entry, 0 for none; (n,) int64."""
    rank: NDArray[np.int64] = np.where(relevant.any(axis=1), relevant.argmax(axis=1) + 1, 0)
    return rank


class Lists:
    """A `Ranked` with what its metrics share worked out once: ties, and the lists in their worst order of ties."""

    def __init__(self, ranked: Ranked):
        self.ranked = ranked

    @cached_property
    def image_blocks(self) -> NDArray[np.int64] | None:
        """(n, w) number of the tie that a picture belongs to, None where nothing ties."""
        return tie_blocks(self.ranked.image_distances)

    @cached_property
    def group_blocks(self) -> NDArray[np.int64] | None:
        """(n, m) the same of groups."""
        return tie_blocks(self.ranked.group_distances)

    @cached_property
    def worst_images(self) -> Grades:
        """(n, w) grades of pictures, the less relevant first among ties."""
        return worst_first(self.ranked.image_grades, self.image_blocks)

    @cached_property
    def worst_groups(self) -> Grades:
        """(n, m) the same of groups."""
        return worst_first(self.ranked.group_grades, self.group_blocks)

    @cached_property
    def findable_same(self) -> NDArray[np.int64]:
        """(n,) findable pictures of grade 2."""
        same = self.ranked.findable_same
        return self.ranked.findable if same is None else same


class Metric(NamedTuple):
    """One row of `METRICS`.

    Attributes:
        value: (lists, k) -> (n,) float64; k is 0 where the metric has no cut.
        has_k: It is named `NAME@k`.
        is_share: Each value is 0 or 1, so that a mean is a share of queries.
        about: One line for help and reports.
    """

    value: Callable[[Lists, int], Floats]
    has_k: bool
    is_share: bool
    about: str


def _short(lists: Lists, k: int) -> Floats:
    return np.asarray((lists.ranked.group_grades >= 0).sum(axis=1) < k, np.float64)


def _tied(lists: Lists, k: int) -> Floats:
    blocks = lists.group_blocks
    if blocks is None or k >= blocks.shape[1]:
        return np.zeros(len(lists.ranked.answered))
    return np.asarray(blocks[:, k] == blocks[:, k - 1], np.float64)


METRICS: dict[str, Metric] = {
    "hit": Metric(
        lambda lists, k: hit_at_k(lists.worst_groups > 0, k), True, True, "a relevant group in the first k groups"
    ),
    "recall": Metric(
        lambda lists, k: recall_at_k(lists.worst_images > 0, lists.ranked.findable, k),
        True,
        False,
        "relevant pictures in the first k / findable",
    ),
    "capped_recall": Metric(
        lambda lists, k: capped_recall_at_k(lists.worst_images > 0, lists.ranked.findable, k),
        True,
        False,
        "relevant pictures in the first k / min(k, findable)",
    ),
    "map_at_r": Metric(
        lambda lists, _: map_at_r(lists.worst_images > 0, lists.ranked.findable),
        False,
        False,
        "average precision over the first R places, R findable pictures",
    ),
    "mrr": Metric(
        lambda lists, _: reciprocal_rank(lists.worst_groups > 0), False, False, "1 / rank of the first relevant group"
    ),
    "ndcg": Metric(
        lambda lists, k: ndcg_at_k(lists.worst_images, lists.ranked.findable, lists.findable_same, k),
        True,
        False,
        "graded gain of the first k pictures / that of the ideal list",
    ),
    "answer_rate": Metric(
        lambda lists, _: np.asarray(lists.ranked.answered, np.float64), False, True, "the query was answered"
    ),
    "short_list": Metric(_short, True, True, "fewer than k distinct groups came back"),
    "tied": Metric(_tied, True, True, "the k-th and the next group tie, so that their order mattered"),
}
LOSSES: dict[str, tuple[bool, str]] = {
    "ann_loss": (False, "share of exact search's first k that the index missed"),
    "label_loss": (False, "hit@k of exact search - hit@k"),
    "routing_loss": (False, "hit@k in the labelled category - hit@k"),
    "model_loss": (True, "1 - hit@k of exact search in the labelled category"),
}
"""Differences between a system's views (evaluation/losses.py): whether a value is 0 or 1, and what it is."""


def value_of(name: str, ranked: Ranked) -> Floats:
    """Return one metric of each query.

    Args:
        name: `hit@10`, `mrr`, ...: see `known_metrics`.
        ranked: Canonical lists of n queries.

    Returns:
        (n,) float64 in [0, 1].

    Raises:
        ConfigError: No such metric, a cut below 1, or a loss, which one list cannot tell.
    """
    return values_of([name], ranked)[name]


def values_of(names: Iterable[str], ranked: Ranked) -> dict[str, Floats]:
    """Return several metrics by name, ties worked out once; as `value_of` otherwise."""
    lists = Lists(ranked)
    values = {}
    for name in names:
        base, k = split_name(name)
        if base in LOSSES:
            raise ConfigError(
                f"metric {name!r} compares two views of a system: measure the system (evaluation/losses.py)"
            )
        values[name] = METRICS[base].value(lists, k)
    return values


def hit_bounds(ranked: Ranked, k: int) -> tuple[Floats, Floats, Floats]:
    """Return hit@k under the (worst, best, expected) order of the groups that tie at the cut; each (n,) float64."""
    return bounds_of(f"hit@{k}", ranked)


def bounds_of(name: str, ranked: Ranked | Lists) -> tuple[Floats, Floats, Floats]:
    """Return `hit@k`, `recall@k` or `capped_recall@k` under every order of what ties at the cut.

    A tie that goes on beyond the list's end is only seen as far as the list goes: ask for more than k.

    Args:
        name: One of the three.
        ranked: Canonical lists, or the same already as `Lists`.

    Returns:
        (worst, best, expected), each (n,) float64 in [0, 1]: the less relevant first, the more relevant first, and the
        mean over all orders (hypergeometric).

    Raises:
        ConfigError: Another metric, or a cut below 1.
    """
    base, k = split_name(name)
    if base not in ("hit", "recall", "capped_recall"):
        raise ConfigError(f"metric {name!r} has no bounds over ties; expected hit@k, recall@k or capped_recall@k")
    lists = ranked if isinstance(ranked, Lists) else Lists(ranked)
    if base == "hit":
        worst, blocks, grades = lists.worst_groups, lists.group_blocks, lists.ranked.group_grades
        expected = relevant_at_cut(grades > 0, blocks, k).any_expected
        return hit_at_k(worst > 0, k), hit_at_k(best_first(grades, blocks) > 0, k), expected
    findable = lists.ranked.findable if base == "recall" else np.minimum(lists.ranked.findable, k)
    worst, blocks, grades = lists.worst_images, lists.image_blocks, lists.ranked.image_grades
    mean = relevant_at_cut(grades > 0, blocks, k).count_expected / np.maximum(findable, 1)
    return recall_at_k(worst > 0, findable, k), recall_at_k(best_first(grades, blocks) > 0, findable, k), mean


def is_share(name: str) -> bool:
    """Say whether each value of a metric or loss is 0 or 1; raises ConfigError for an unknown name."""
    base, _ = split_name(name)
    return METRICS[base].is_share if base in METRICS else LOSSES[base][0]


def known_metrics() -> tuple[str, ...]:
    """Return the names of all metrics and losses, `@k` where a cut belongs to it."""
    return tuple(f"{base}@k" if row.has_k else base for base, row in METRICS.items()) + tuple(
        f"{base}@k" for base in LOSSES
    )


def split_name(name: str) -> tuple[str, int]:
    """Split `hit@10` into base and cut; the cut is 0 where the metric has none.

    Raises:
        ConfigError: Unknown name, a cut that is missing, not wanted or below 1.

    Example:
        >>> split_name("hit@10"), split_name("mrr")
        (('hit', 10), ('mrr', 0))
    """
    base, at, cut = name.partition("@")
    wants_k = base in LOSSES or (base in METRICS and METRICS[base].has_k)
    if not wants_k and not (base in METRICS and not at):
        raise ConfigError.unknown_name("metric", name, known_metrics(), "metrics")
    if wants_k and not re.fullmatch("[1-9][0-9]{0,5}", cut):
        raise ConfigError(f"metric {name!r}: expected {base}@k with a whole number k from 1 to 999999")
    return base, int(cut or 0)
