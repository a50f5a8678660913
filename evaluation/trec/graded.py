"""trec_eval's measures of gain: (Lists, parameter) -> (n,) float64. A document's gain is its grade, 0 if unjudged.

`Lists.level` does not matter to them, except that Rndcg is 0 for a query without a document of that level. Gains of
one's own (trec_eval's `-m ndcg.1=3.5`) are not offered: change the grades. Sources: m_NAME.c of trec_eval 10; nDCG is
Järvelin and Kekäläinen's (ACM TOIS 20, 2002) with the discount log2(rank + 1).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from evaluation.trec.binary import ratio
from evaluation.trec.files import Ints
from evaluation.trec.lists import NOT_JUDGED, NOT_POOLED, Floats, Lists


def dcg(lists: Lists, _: float) -> Floats:
    """Sum of gain / log2(rank + 1)."""
    return lists.hits.total(_discounted(lists))


def ideal_dcg(lists: Lists, _: float) -> Floats:
    """The highest DCG that any list could have."""
    return lists.ideal.total(_ideal_discounted(lists))


def ndcg(lists: Lists, _: float) -> Floats:
    """DCG over the ideal one of unlimited length."""
    return ratio(dcg(lists, 0), ideal_dcg(lists, 0))


def ndcg_cut(lists: Lists, cut: float) -> Floats:
    """DCG of the first k over the ideal one of k."""
    got = lists.hits.total(np.where(lists.hits.place <= cut, _discounted(lists), 0.0))
    best = lists.ideal.total(np.where(lists.ideal.place <= cut, _ideal_discounted(lists), 0.0))
    return ratio(got, best)


def ndcg_rel(lists: Lists, _: float) -> Floats:
    """NDCG averaged over the ranks of the documents with a gain; one not retrieved counts as at the list's end."""
    hits, ideal = lists.hits, lists.ideal
    got, best = hits.running(_discounted(lists)), ideal.running(_ideal_discounted(lists))
    gainful = np.flatnonzero(lists.grade > 0)
    row = hits.row[gainful]
    best_there = best[ideal.start[row] + np.minimum(hits.place[gainful], ideal.lengths[row]) - 1]
    summed = np.bincount(row, got[gainful] / best_there, len(lists.queries))
    left = ideal.lengths - hits.total(lists.grade > 0)
    return ratio(summed + left * ndcg(lists, 0), ideal.lengths)


def r_ndcg(lists: Lists, _: float) -> Floats:
    """NDCG averaged over the ranks at which the ideal list's gain changes.

    That is after the last document of each grade above 0, and at the list's end if it is longer by more than one than
    the documents with a gain: so does trec_eval, whose help speaks of one point more.
    """
    hits, ideal = lists.hits, lists.ideal
    best = ideal.running(_ideal_discounted(lists))
    following = np.append(ideal.row[1:], -1), np.append(lists.ideal_gain[1:], -1)
    last = np.flatnonzero((following[0] != ideal.row) | (following[1] != lists.ideal_gain))
    got = np.append(hits.running(_discounted(lists)), 0.0)
    row = ideal.row[last]
    reached = np.minimum(ideal.place[last], hits.lengths[row])
    got_there = got[np.where(reached > 0, hits.start[row] + reached - 1, len(got) - 1)]
    summed = np.bincount(row, got_there / best[last], len(lists.queries))
    points = np.bincount(row, minlength=len(lists.queries))
    longer = (hits.lengths > ideal.lengths + 1) & (ideal.lengths > 0)
    mean = ratio(summed + np.where(longer, ndcg(lists, 0), 0.0), points + longer)
    return np.where(lists.relevant > 0, mean, 0.0)


def normalised_gain(lists: Lists, _: float) -> Floats:
    """G: sum of gain / log2(2 + what the ideal list has gained more up to here), over all gain there is.

    Beyond its end the ideal list is charged 1 a rank.
    """
    hits, ideal = lists.hits, lists.ideal
    inside = hits.place <= ideal.lengths[hits.row]
    charge = np.ones(len(hits.row))
    charge[inside] = lists.ideal_gain[ideal.start[hits.row[inside]] + hits.place[inside] - 1]
    gain = np.maximum(lists.grade, 0)
    behind = hits.running(charge) - hits.running(gain)
    return ratio(hits.total(gain / np.log2(2.0 + behind)), ideal.total(lists.ideal_gain))


def rank_biased_precision(lists: Lists, persistence: float) -> Floats:
    """(1 - p) times the sum of gain * p^(rank - 1) (Moffat and Zobel, ACM TOIS 27, 2008).

    Gains are scaled to [0, 1] by the highest grade of the query's qrels, where that is above 1.
    """
    ideal = lists.ideal
    top = np.ones(len(lists.queries))
    some = ideal.lengths > 0
    top[some] = lists.ideal_gain[ideal.start[:-1][some]]
    gain = np.maximum(lists.grade, 0) / top[lists.hits.row]
    return (1.0 - persistence) * lists.hits.total(gain * persistence ** (lists.hits.place - 1))


def rank_biased_residual(lists: Lists, persistence: float) -> Floats:
    """What RBP could still gain if every result without a judgement were perfect; 0 if all are judged."""
    without = lists.grade < 0
    could = lists.hits.total(np.where(without, persistence ** (lists.hits.place - 1), 0.0))
    beyond = persistence ** lists.hits.lengths.astype(np.float64)
    return np.where(could > 0, beyond + (1.0 - persistence) * could, 0.0)


def relevance_string(lists: Lists, length: float) -> NDArray[np.object_]:
    """Return (n,) str, a character for each of the first results.

    Its grade, `>` above 9, `-` not in the pool, `.` in the pool but not judged.
    """
    signs = np.array([*"0123456789", ">", "-", "."])
    named: Ints = np.minimum(lists.grade, 10)
    named = np.select([lists.grade == NOT_POOLED, lists.grade == NOT_JUDGED], [11, 12], named)
    start = lists.hits.start.tolist()
    ends = np.minimum(lists.hits.start[1:], lists.hits.start[:-1] + int(length)).tolist()
    text = "".join(signs[named].tolist())
    return np.array([text[first:last] for first, last in zip(start[:-1], ends, strict=True)], np.object_)


def _discounted(lists: Lists) -> Floats:
    return ratio(np.maximum(lists.grade, 0), np.log2(lists.hits.place + 1.0))


def _ideal_discounted(lists: Lists) -> Floats:
    return ratio(lists.ideal_gain, np.log2(lists.ideal.place + 1.0))
