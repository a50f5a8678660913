"""Where hits are lost: the views of one system compared, query by query (evaluation-index-eviction.md, 4.2).

ann_loss@k      1 - |served ids in exact ids| / k: what the index missed of exact search over the same rows.
label_loss@k    hit(exact) - hit(served): what that cost a user; negative where the index was lucky.
routing_loss@k  hit(labelled category) - hit(served).
model_loss@k    1 - hit of exact search, in the labelled category where that view is there: only the model is left.

A query that a reference view did not answer counts as lost, 1: a search that failed never flatters.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from evaluation.measured import Floats, Ranked
from evaluation.metrics import value_of
from evaluation.system import View
from evaluation.ties import tie_blocks
from evaluation.truth import Codes, ordered_codes


def losses_of(views: Mapping[View, Ranked], k: int) -> dict[str, Floats]:
    """Return every loss at a cut that the views can tell, by name; each (n,) float64.

    Args:
        views: Canonical lists by view, the served one among them.
        k: >= 1.
    """
    served = value_of(f"hit@{k}", views[View.SERVED])
    losses: dict[str, Floats] = {}
    if View.EXACT in views:
        losses[f"ann_loss@{k}"] = ann_loss_at_k(views[View.SERVED], views[View.EXACT], k)
        losses[f"label_loss@{k}"] = _against(views[View.EXACT], served, k)
    if View.ORACLE in views:
        losses[f"routing_loss@{k}"] = _against(views[View.ORACLE], served, k)
    best = views.get(View.EXACT_ORACLE, views.get(View.EXACT))
    if best is not None:
        losses[f"model_loss@{k}"] = 1.0 - value_of(f"hit@{k}", best)
    return losses


def _against(reference: Ranked, served: Floats, k: int) -> Floats:
    return np.where(reference.answered, value_of(f"hit@{k}", reference) - served, 1.0)


def ann_loss_at_k(served: Ranked, exact: Ranked, k: int) -> Floats:
    """Return the share of exact search's first k pictures that the served list lacks among its own first k.

    Exact's list is extended past k through what ties with its k-th picture, so that any of several equal answers is
    right (big-ann-benchmarks), and never counts for more than k. Where exact search itself has fewer than k pictures,
    they are the divisor; where it has none, nothing was lost.

    Args:
        served: Canonical lists of n queries.
        exact: Of exact search over the same rows, deeper than k, else ties at the cut are not seen.
        k: >= 1.

    Returns:
        (n,) float64 in [0, 1]; 1 where exact search did not answer.
    """
    n = len(exact.answered)
    reach = _reach(exact, k)
    depth = int(reach.max(initial=0))
    wanted_row, wanted_place = np.nonzero(np.arange(depth) < reach[:, None])
    held_row, held_place = np.nonzero(served.image_grades[:, :k] >= 0)
    wanted = exact.image_names[wanted_row, wanted_place]
    held = served.image_names[held_row, held_place]
    codes, names = ordered_codes(np.concatenate([wanted, held]).tolist())
    keys = np.concatenate([wanted_row, held_row]) * max(1, len(names)) + codes
    found = np.bincount(held_row[np.isin(keys[len(wanted) :], keys[: len(wanted)])], minlength=n)
    size = np.minimum(np.count_nonzero(exact.image_grades >= 0, axis=1), k)
    share = np.where(size > 0, np.minimum(found, size) / np.maximum(size, 1), 1.0)
    return np.where(exact.answered, 1.0 - share, 1.0)


def _reach(exact: Ranked, k: int) -> Codes:
    """Count each list's first k and what ties with the k-th."""
    is_there = exact.image_grades >= 0
    first = is_there[:, :k].sum(axis=1, dtype=np.int64)
    blocks = tie_blocks(exact.image_distances)
    if blocks is None or k >= is_there.shape[1]:
        return np.asarray(first, np.int64)
    tied_beyond = (blocks[:, k:] == blocks[:, k - 1 : k]) & is_there[:, k:]
    return np.asarray(first + tied_beyond.sum(axis=1), np.int64)
