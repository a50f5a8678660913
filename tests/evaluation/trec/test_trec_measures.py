"""Measures that neither trec_eval's expected outputs nor pytrec_eval pin down, by hand; names; edges."""

from __future__ import annotations

from math import log, log2
from typing import Any

import numpy as np
import pytest

from evaluation.trec.evaluate import evaluate_run, trec_eval_text
from evaluation.trec.files import TrecTable
from evaluation.trec.table import MEASURES, NICKNAMES, asked_for
from reporting.errors import DataError, UsageError


def table(*rows: tuple[str, str, float], run_id: str = "") -> TrecTable:
    queries = tuple(sorted({query.encode() for query, _, _ in rows}))
    documents = tuple(sorted({document.encode() for _, document, _ in rows}))
    query = np.array([queries.index(row[0].encode()) for row in rows], np.int64)
    document = np.array([documents.index(row[1].encode()) for row in rows], np.int64)
    return TrecTable("t", queries, documents, query, document, np.array([row[2] for row in rows], np.float64), run_id)


QRELS = table(("q", "a", 2), ("q", "b", 0), ("q", "c", 1), ("q", "d", -1), ("w", "a", 1), ("z", "a", 0))
# q: b (0), c (1), x (not in the pool), a (2), d (not judged)
RUN = table(
    ("q", "b", 5), ("q", "c", 4), ("q", "x", 3), ("q", "a", 2), ("q", "d", 1), ("z", "b", 1), ("v", "a", 1), run_id="r"
)


def value(name: str, query: str = "q", **options: Any) -> Any:
    return evaluate_run(QRELS, RUN, asked_for([name]), **options).per_query[query][name]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("dcg", 1 / log2(3) + 2 / log2(5)),
        ("ideal_dcg", 2 / log2(2) + 1 / log2(3)),
        ("yaap", log((1 + 1 / 2 + 2 / 4) / (1 + 2 - 1 / 2 - 2 / 4))),
        ("rbp", 0.1 * (0.5 * 0.9 + 1.0 * 0.9**3)),  # gains over the highest grade, 2
        ("rbp_p=0.5", 0.5 * (0.5 * 0.5 + 1.0 * 0.5**3)),
        ("rbp_resid_p=0.5", 0.5**5 + 0.5 * (0.5**2 + 0.5**4)),
        ("unj_5", 2 / 5),
        ("unj_2", 0.0),
        ("set_F_2.0", 3 * (2 / 5) * 1 / (2 * (2 / 5) + 1)),
        ("relstring", "01-2."),
        ("relstring_2", "01"),
        ("num_nonrel_judged_ret", 1),
        ("iprec_at_recall_0.25", 1 / 2),  # 0.25 x 2 relevant = 0.5, up to 1
        ("P.4", None),
    ],
)
def test_a_value_worked_out_by_hand(name, expected):
    if expected is None:  # trec_eval's own way of writing a cut
        assert evaluate_run(QRELS, RUN, asked_for([name])).measures["P_4"] == pytest.approx((2 / 4) / 2)
    elif isinstance(expected, float):
        assert value(name) == pytest.approx(expected, rel=1e-12)
    else:
        assert value(name) == expected


def test_a_query_without_a_relevant_document_has_zero_everywhere_and_counts():
    found = evaluate_run(QRELS, RUN, asked_for(["all_trec"]))
    row = dict(found.per_query["z"])
    assert {row.pop(name) for name in ("num_ret",)} == {1}
    assert row.pop("relstring") == "-"
    assert row.pop("utility") == -1.0
    assert {name for name, number in row.items() if number} == {"unj_5", "unj_10", "unj_20", "rbp_resid"}
    assert found.queries == 2
    assert found.measures["map"] == pytest.approx(float(found.per_query["q"]["map"]) / 2)


def test_only_queries_of_both_files_count_unless_complete_and_all_others_are_named():
    found = evaluate_run(QRELS, RUN, asked_for(["map", "gm_map", "runid", "num_q"]))
    assert (found.unanswered, found.unjudged, list(found.per_query)) == (("w",), ("v",), ["q", "z"])
    assert (found.measures["num_q"], found.measures["runid"]) == (2, "r")
    complete = evaluate_run(QRELS, RUN, asked_for(["map", "gm_map", "num_q"]), complete=True)
    assert (complete.queries, list(complete.per_query)) == (3, ["q", "w", "z"])
    mean = float(complete.per_query["q"]["map"])
    assert complete.measures["gm_map"] == pytest.approx((mean * 1e-5 * 1e-5) ** (1 / 3))


def test_max_results_cuts_after_ranking_and_level_raises_what_is_relevant():
    assert value("num_ret", max_results=2) == 2
    assert value("set_P", max_results=2) == 1 / 2
    assert value("num_rel", level=2) == 1
    assert value("recip_rank", level=2) == 1 / 4
    assert value("ndcg", level=2) == value("ndcg")


def test_files_without_a_query_in_common_are_an_error_not_a_zero():
    with pytest.raises(DataError, match=r"no query in common \(first of each: 'q', 'other'\)"):
        evaluate_run(table(("other", "a", 1)), RUN, asked_for(["map"]), complete=True)


@pytest.mark.parametrize("options", [{"level": 0}, {"max_results": 0}])
def test_a_level_or_a_number_of_results_below_one_is_refused(options):
    with pytest.raises(UsageError, match="must be 1 or more"):
        evaluate_run(QRELS, RUN, asked_for(["map"]), **options)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("mpa", "did you mean map"),
        ("ndcg_10", "ndcg_cut_10"),
        ("recall_x", "recall takes a whole number >= 1, as in recall_1000"),
        ("P_0", "P takes a whole number >= 1"),
        ("P_²", "P takes a whole number >= 1"),
        ("iprec_at_recall_0.125", "at most two decimals"),
        ("Rprec_mult_nan", "takes a number >= 0"),
        ("rbp_1", "rbp takes a number above 0 and below 1, as in rbp_p=0.8"),
        ("set_F_0", "set_F takes a number above 0, as in set_F_2.0"),
        ("map_x", "unknown measure 'map_x'"),
    ],
)
def test_an_unknown_measure_gives_the_nearest_or_what_the_parameter_must_be(name, said):
    with pytest.raises(UsageError) as error:
        asked_for([name])
    assert said in str(error.value)


def test_no_measure_asked_for_is_refused():
    with pytest.raises(UsageError, match="no measure was asked for"):
        asked_for(["", " "])


def test_a_measure_asked_for_twice_is_given_once_and_every_row_has_a_name_of_its_own():
    assert [one.name for one in asked_for(["P_5", "map", "P.5", "P_05"])] == ["P_5", "map"]
    assert len({one.name for one in MEASURES}) == len(MEASURES)
    assert set(NICKNAMES["all_trec"]) < {one.name for one in MEASURES}


def test_trec_evals_layout_has_what_it_prints_of_single_queries_and_of_all():
    found = evaluate_run(QRELS, RUN, asked_for(["runid", "gm_map", "relstring", "P_5"]))
    lines = [line.split("\t") for line in trec_eval_text(found, per_query=True).splitlines()]
    assert [(name.strip(), query) for name, query, _ in lines] == [
        ("relstring", "q"), ("P_5", "q"), ("relstring", "z"), ("P_5", "z"),
        ("runid", "all"), ("gm_map", "all"), ("P_5", "all"),
    ]  # fmt: skip


def test_qrels_without_any_relevant_document_give_zeros_and_no_warning():
    nothing = table(("q", "a", 0), ("q", "b", -1))
    found = evaluate_run(nothing, RUN, asked_for(["all_trec"]), complete=True)
    assert found.measures["num_rel"] == 0
    assert {found.measures[name] for name in ("map", "ndcg", "ndcg_rel", "Rndcg", "G", "bpref", "rbp", "set_F")} == {0}
