"""trec_eval's measures of relevant or not, each over all queries at once: (Lists, parameter) -> (n,) float64.

A measure whose divisor is 0 (no relevant document, nothing retrieved) is 0, as in trec_eval. Sources: the file
m_NAME.c of trec_eval 10 for each, and the paper it cites.
"""

from __future__ import annotations

import numpy as np

from evaluation.trec.files import Ints
from evaluation.trec.lists import NOT_JUDGED, Bools, Floats, Lists

MIN_GEOMETRIC = 1e-5
"""A query's value under a geometric mean is at least this (trec_eval's MIN_GEO_MEAN)."""
_EPSILON = 1e-5  # infAP's smoothing, INFAP_EPSILON


def ratio(above: Floats | Ints, below: Floats | Ints) -> Floats:
    """Return above / below, 0 where below is 0."""
    return np.divide(above, below, out=np.zeros(len(below)), where=below != 0)


def retrieved(lists: Lists, _: float) -> Floats:
    """Count the results."""
    return lists.retrieved.astype(np.float64)


def relevant(lists: Lists, _: float) -> Floats:
    """Count the relevant documents of the qrels."""
    return lists.relevant.astype(np.float64)


def relevant_retrieved(lists: Lists, _: float) -> Floats:
    """Count the relevant results."""
    return lists.relevant_retrieved


def nonrelevant_retrieved(lists: Lists, _: float) -> Floats:
    """Count the results judged below the level."""
    return lists.hits.total(_judged_nonrelevant(lists))


def precision(lists: Lists, cut: float) -> Floats:
    """Relevant among the first k, over k, however short the list is."""
    return _within(lists, lists.is_relevant, cut) / cut


def recall(lists: Lists, cut: float) -> Floats:
    """Relevant among the first k, over all relevant."""
    return ratio(_within(lists, lists.is_relevant, cut), lists.relevant)


def relative_precision(lists: Lists, cut: float) -> Floats:
    """Relevant among the first k, over the most that k could hold."""
    return ratio(_within(lists, lists.is_relevant, cut), np.minimum(lists.relevant, int(cut)))


def success(lists: Lists, cut: float) -> Floats:
    """1 if any of the first k is relevant, else 0: this product's hit@k, of documents."""
    return (_within(lists, lists.is_relevant, cut) > 0).astype(np.float64)


def unjudged(lists: Lists, cut: float) -> Floats:
    """Results without a judgement among the first k, over k."""
    return _within(lists, lists.grade < 0, cut) / cut


def average_precision(lists: Lists, _: float) -> Floats:
    """Precision at each relevant result, averaged over all relevant (map)."""
    return ratio(lists.hits.total(_precision_at_relevant(lists)), lists.relevant)


def average_precision_cut(lists: Lists, cut: float) -> Floats:
    """Average precision of the first k results."""
    at_relevant = np.where(lists.hits.place <= cut, _precision_at_relevant(lists), 0.0)
    return ratio(lists.hits.total(at_relevant), lists.relevant)


def yaap(lists: Lists, _: float) -> Floats:
    """Robertson's log-odds of average precision (ECIR 2012): log((1 + s) / (1 + R - s))."""
    sums = lists.hits.total(_precision_at_relevant(lists))
    return np.log((1.0 + sums) / (1.0 + lists.relevant - sums))


def reciprocal_rank(lists: Lists, _: float) -> Floats:
    """1 over the rank of the first relevant result, 0 without one."""
    first = lists.is_relevant & (lists.found == 1)
    return lists.hits.total(np.where(first, 1.0 / lists.hits.place, 0.0))


def r_precision(lists: Lists, _: float) -> Floats:
    """Relevant among the first R, over R, the number of relevant documents."""
    return ratio(_up_to(lists, lists.relevant), lists.relevant)


def r_precision_multiple(lists: Lists, multiple: float) -> Floats:
    """Precision at R times a factor, rounded up from a tenth."""
    cut = (multiple * lists.relevant + 0.9).astype(np.int64)
    return ratio(_up_to(lists, cut), cut)


def interpolated_precision(lists: Lists, recall_point: float) -> Floats:
    """Highest precision at or beyond the rank that reaches a share of the relevant documents.

    The share of R is rounded to the nearest whole number, halves up, as trec_eval 10 does; up to version 9, and so in
    pytrec_eval, it is R * share + 0.9 cut down (`best_precision_from` takes either).
    """
    share = recall_point * lists.relevant
    whole = np.trunc(share)
    return best_precision_from(lists, (whole + (share - whole >= 0.5)).astype(np.int64))


def best_precision_from(lists: Lists, needed: Ints) -> Floats:
    """Return (n,): the highest precision at any rank with at least `needed` (n,) relevant results, 0 without one."""
    beyond = lists.is_relevant & (lists.found >= needed[lists.hits.row])
    best = np.zeros(len(lists.queries))
    np.maximum.at(best, lists.hits.row[beyond], (lists.found / lists.hits.place)[beyond])
    return best


def eleven_point_average(lists: Lists, _: float) -> Floats:
    """Mean of the interpolated precision at recall 0.0, 0.1, ... 1.0."""
    total = np.zeros(len(lists.queries))
    for tenth in range(11):
        total += interpolated_precision(lists, tenth / 10)
    return total / 11


def bpref(lists: Lists, _: float) -> Floats:
    """Share of judged pairs in the right order (Buckley and Voorhees, SIGIR 2004); looks at judged results only."""
    above = lists.hits.counted(_judged_nonrelevant(lists))
    row = lists.hits.row
    most = np.minimum(lists.nonrelevant, lists.relevant)[row]
    kept = 1.0 - ratio(np.minimum(above, lists.relevant[row]), most)
    return ratio(lists.hits.total(np.where(lists.is_relevant, kept, 0.0)), lists.relevant)


def inferred_average_precision(lists: Lists, _: float) -> Floats:
    """Average precision inferred from a pool of which a sample was judged (Yilmaz and Aslam, CIKM 2006)."""
    hits = lists.hits
    relevant_above, above = lists.found - 1, hits.place - 1
    judged_above = relevant_above + hits.counted(_judged_nonrelevant(lists))
    pooled_above = judged_above + hits.counted(lists.grade == NOT_JUDGED)
    inferred = (relevant_above + _EPSILON) / (judged_above + 2 * _EPSILON)
    at_rank = 1.0 / hits.place + above / hits.place * ratio(pooled_above, above) * inferred
    return ratio(hits.total(np.where(lists.is_relevant, at_rank, 0.0)), lists.relevant)


def binary_g(lists: Lists, _: float) -> Floats:
    """Mean over the relevant of 1 / log2(2 + results above that are not relevant)."""
    wrong_above = lists.hits.place - lists.found
    gain = np.where(lists.is_relevant, 1.0 / np.log2(2.0 + wrong_above), 0.0)
    return ratio(lists.hits.total(gain), lists.relevant)


def set_precision(lists: Lists, _: float) -> Floats:
    """Relevant results over results."""
    return ratio(lists.relevant_retrieved, lists.retrieved)


def set_recall(lists: Lists, _: float) -> Floats:
    """Relevant results over relevant documents."""
    return ratio(lists.relevant_retrieved, lists.relevant)


def set_relative_precision(lists: Lists, _: float) -> Floats:
    """Relevant results over the most that a list of this length could hold."""
    return ratio(lists.relevant_retrieved, np.minimum(lists.retrieved, lists.relevant))


def set_average_precision(lists: Lists, _: float) -> Floats:
    """Set precision times set recall."""
    return ratio(lists.relevant_retrieved**2, lists.retrieved * lists.relevant)


def set_f(lists: Lists, weight: float) -> Floats:
    """Weighted harmonic mean of set precision P and recall R: (x + 1) P R / (R + x P)."""
    exact, full = set_precision(lists, 0), set_recall(lists, 0)
    above: Floats = (weight + 1.0) * exact * full
    below: Floats = weight * exact + full
    return ratio(above, below)


def utility(lists: Lists, _: float) -> Floats:
    """Relevant results minus the others."""
    return 2 * lists.relevant_retrieved - lists.retrieved


def log_average_precision(lists: Lists, _: float) -> Floats:
    """Logarithm of average precision, for a geometric mean."""
    return np.log(np.maximum(average_precision(lists, 0), MIN_GEOMETRIC))


def log_bpref(lists: Lists, _: float) -> Floats:
    """Logarithm of bpref, for a geometric mean."""
    return np.log(np.maximum(bpref(lists, 0), MIN_GEOMETRIC))


def _judged_nonrelevant(lists: Lists) -> Bools:
    return (lists.grade >= 0) & ~lists.is_relevant


def _precision_at_relevant(lists: Lists) -> Floats:
    return np.where(lists.is_relevant, lists.found / lists.hits.place, 0.0)


def _within(lists: Lists, marked: Bools, cut: float) -> Floats:
    return lists.hits.total(marked & (lists.hits.place <= cut))


def _up_to(lists: Lists, cut: Ints) -> Floats:
    """Count the relevant among the first cut (n,) results of each query."""
    return lists.hits.total(lists.is_relevant & (lists.hits.place <= cut[lists.hits.row]))
