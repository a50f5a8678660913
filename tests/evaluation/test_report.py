"""An evaluation run against a searcher of known answers, and the floors under it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from evaluation.catalog import CatalogImage, catalog_of
from evaluation.evalset import EvalSet, LabelledQuery, load_evalset
from evaluation.floors import Floor, judge_floors
from evaluation.report import evaluate, measure_answers
from evaluation.result import EvaluationResult
from evaluation.searcher import Hit
from reporting.errors import ConfigError, DataError


class Scripted:
    """A searcher that answers by the picture's bytes, and remembers how it was asked."""

    def __init__(self, answers: dict[bytes, list[Hit]]):
        self.answers = answers
        self.asked: list[tuple[int, int, str | None]] = []

    def search(self, pictures: Sequence[bytes], k: int, category: str | None = None) -> list[list[Hit]]:
        self.asked.append((len(pictures), k, category))
        return [self.answers.get(picture, []) for picture in pictures]


CATALOG = catalog_of(
    [CatalogImage("g1", "s1", 1), CatalogImage("g1", "s2", 2), CatalogImage("g2", "s3", 3), CatalogImage("g3", "s4")]
)
LABELS = "path,group,category\n1,g1,shoes\n2,g2,hats\n3,g3,shoes\n4,g2,hats\n"


@pytest.fixture
def evalset(tmp_path: Path) -> EvalSet:
    for name in "1234":
        (tmp_path / name).write_text(name)
    (tmp_path / "labels.csv").write_text(LABELS)
    return load_evalset(tmp_path / "labels.csv")


@pytest.fixture
def searcher() -> Scripted:
    return Scripted(
        {
            b"1": [Hit(3, "g2", 0.3), Hit(1, "g1", 0.1), Hit(1, "g1", 0.1)],
            b"2": [Hit(1, "g1", 0.2), Hit(3, "g2", 0.2)],  # a tie at the cut of 1
            b"3": [Hit(9, "g9", 0.2), Hit(-1, "", float("nan"))],
        }
    )  # 4 is not answered


def run(evalset: EvalSet, searcher: Scripted, **options) -> EvaluationResult:
    return evaluate(evalset, CATALOG, searcher, searcher_facts={"release": "7"}, ks=(1, 2), **options)


def table(result: EvaluationResult, slice_name: str = "all") -> dict[str, float]:
    part = result.slice_of(slice_name)
    assert part is not None
    return {metric.name: metric.value for metric in part.metrics}


def test_every_number_of_a_small_run_is_as_counted_by_hand(evalset, searcher):
    result = run(evalset, searcher)
    assert table(result) == {
        "hit@1": 1 / 4, "hit@1.worst": 1 / 4, "hit@1.best": 2 / 4, "hit@1.expected": 1.5 / 4, "tied@1": 1 / 4,
        "recall@1": 0.5 / 4, "capped_recall@1": 1 / 4, "short_list@1": 1 / 4,
        "hit@2": 2 / 4, "hit@2.worst": 2 / 4, "hit@2.best": 2 / 4, "hit@2.expected": 2 / 4, "tied@2": 0,
        "recall@2": 1.5 / 4, "capped_recall@2": 1.5 / 4, "short_list@2": 2 / 4,
        "answer_rate": 3 / 4,
    }  # fmt: skip
    assert (result.query_count, result.answered_count, result.unfindable_count) == (4, 3, 0)
    assert (result.duplicate_count, result.orphan_count, result.ks, result.depth) == (1, 1, (1, 2), 20)
    assert [(row.path, row.first_rank, row.found, row.findable) for row in result.outcomes] == [
        ("1", 1, 1, 2),
        ("2", 2, 1, 1),
        ("3", 0, 0, 1),
        ("4", 0, 0, 1),
    ]


def test_a_query_picture_that_is_in_the_catalogue_neither_helps_nor_counts_as_findable(evalset):
    """Query 1 is the catalogue's own picture of g1, stored under id 1: leave it out, whole."""
    own = catalog_of([CatalogImage("g1", evalset.queries[0].sha256, 1), CatalogImage("g1", "s2", 2)])
    searcher = Scripted({b"1": [Hit(1, "g1", 0.0), Hit(2, "g1", 0.4)]})
    first = evaluate(evalset, own, searcher, searcher_facts={}, ks=(1,)).outcomes[0]
    assert (first.self_matches, first.found, first.findable, first.first_rank) == (1, 1, 1, 1)
    only_itself = Scripted({b"1": [Hit(1, "g1", 0.0)]})
    lone = evaluate(evalset, own, only_itself, searcher_facts={}, ks=(1,)).outcomes[0]
    assert (lone.is_answered, lone.found, lone.first_rank) == (True, 0, 0)


def test_slices_are_the_categories_and_add_up_to_all(evalset, searcher):
    result = run(evalset, searcher)
    assert [part.slice for part in result.slices] == ["all", "category=hats", "category=shoes"]
    for name, value in table(result).items():
        parts = [table(result, part)[name] for part in ("category=hats", "category=shoes")]
        assert value == pytest.approx(sum(parts) / 2)
    assert result.slice_of("category=socks") is None


def test_the_route_decides_whether_the_searcher_is_told_the_category(evalset, searcher):
    run(evalset, searcher)
    assert sorted(searcher.asked, key=str) == [(2, 20, "hats"), (2, 20, "shoes")]
    searcher.asked.clear()
    run(evalset, searcher, route="all", depth=3)
    assert searcher.asked == [(4, 3, None)]


def test_pictures_go_out_in_bounded_batches_and_answers_come_back_in_order(tmp_path):
    rows = ["path,group,category"]
    for number in range(150):
        (tmp_path / str(number)).write_text(str(number))
        rows.append(f"{number},g{number},{'ab'[number % 2]}")
    (tmp_path / "labels.csv").write_text("\n".join(rows))
    many = load_evalset(tmp_path / "labels.csv")
    catalog = catalog_of(CatalogImage(f"g{number}", str(number), number) for number in range(150))
    searcher = Scripted({str(n).encode(): [Hit(n, f"g{n}", 0.1)] for n in range(150)})
    result = evaluate(many, catalog, searcher, searcher_facts={})
    assert table(result)["hit@1"] == 1
    assert [asked[0] for asked in searcher.asked] == [64, 11, 64, 11]


def test_the_result_survives_json_to_the_bit(evalset, searcher):
    result = run(evalset, searcher)
    assert EvaluationResult.model_validate_json(result.model_dump_json()) == result


@settings(max_examples=25)
@given(st.lists(st.sampled_from(["g1", "g2", "g3", "unknown"]), max_size=5))
def test_adding_queries_never_changes_what_became_of_the_others(extra):
    def made(groups: list[str]) -> EvalSet:
        queries = tuple(
            LabelledQuery(path=str(at), group=group, category="c", sha256=f"{at:064x}", line=at + 2)
            for at, group in enumerate(groups)
        )
        return EvalSet(name="n", source=Path("n.csv"), root=Path(), sha256="0", queries=queries)

    answers = [[Hit(1, "g1", 0.1), Hit(3, "g2", 0.2)], [], [Hit(3, "g2", 0.2)] * 3]
    first = ["g1", "g2", "g2"]
    facts = {"searcher_facts": {}, "ks": (1, 2), "depth": 5, "route": "all"}
    alone = measure_answers(made(first), CATALOG, answers, **facts)  # type: ignore[arg-type]
    more = measure_answers(made(first + extra), CATALOG, [*answers, *([[]] * len(extra))], **facts)  # type: ignore[arg-type]
    assert more.outcomes[:3] == alone.outcomes
    assert more.unfindable_count == extra.count("unknown")
    assert table(more)["hit@2"] == pytest.approx(table(alone)["hit@2"] * 3 / (3 + len(extra)))


@pytest.mark.parametrize(("ks", "depth"), [((), None), ((0,), None), ((1, 10), 10), ((5,), 3)])
def test_a_depth_that_cannot_show_a_tie_at_the_cut_is_refused(evalset, searcher, ks, depth):
    with pytest.raises(DataError, match="expected 1 <= k < depth"):
        evaluate(evalset, CATALOG, searcher, searcher_facts={}, ks=ks, depth=depth)


def test_a_searcher_that_answers_fewer_pictures_than_asked_is_refused(evalset):
    class Lossy(Scripted):
        def search(self, pictures, k, category=None):
            return super().search(pictures, k, category)[1:]

    with pytest.raises(DataError, match="1 answers to 2 pictures of category shoes"):
        run(evalset, Lossy({}))


def perfect(count: int, hits: int, tmp_path: Path) -> EvaluationResult:
    """Evaluate `count` queries of own products, of which the first `hits` are found."""
    queries = tuple(
        LabelledQuery(path=str(at), group=f"g{at}", category="c", sha256=f"{at:064x}", line=at + 2)
        for at in range(count)
    )
    evalset = EvalSet(name="n", source=tmp_path, root=tmp_path, sha256="0" * 64, queries=queries)
    catalog = catalog_of(CatalogImage(f"g{at}", f"c{at}", at) for at in range(count + 1))
    answers = [[Hit(at if at < hits else count, f"g{at if at < hits else count}", 0.1)] for at in range(count)]
    return measure_answers(evalset, catalog, answers, searcher_facts={}, ks=(1, 10), depth=100, route="labelled")


@pytest.mark.parametrize(
    ("count", "hits", "decision"),
    [
        (1000, 950, "PASS"),  # Wilson 0.935
        (1000, 918, "INCONCLUSIVE"),  # above 0.9, but [0.899, 0.933]
        (1000, 890, "INCONCLUSIVE"),  # below 0.9, but [0.869, 0.908]
        (1000, 870, "FAIL"),  # [0.848, 0.889]
        (50, 48, "INCONCLUSIVE"),  # 0.96, but of 50 only: Wilson 0.865
    ],
)
def test_a_floor_is_judged_by_the_whole_interval(tmp_path, count, hits, decision):
    verdict = judge_floors(perfect(count, hits, tmp_path), [Floor(metric="hit@10", minimum=0.9)])
    assert verdict.decision == decision
    row = verdict.evidence[0]
    assert (row.n, row.value, row.threshold, row.judged) == (count, hits / count, 0.9, "hit@10.worst")
    assert row.ci_low is not None
    assert f"[{row.ci_low:.4f}" in row.reason


def test_fail_beats_inconclusive_beats_pass(tmp_path):
    result = perfect(1000, 918, tmp_path)
    good, open_, bad = (Floor(metric="hit@10", minimum=minimum) for minimum in (0.5, 0.9, 0.99))
    assert judge_floors(result, [good]).decision == "PASS"
    assert judge_floors(result, [good, open_]).decision == "INCONCLUSIVE"
    assert judge_floors(result, [open_, bad, good]).decision == "FAIL"
    assert judge_floors(result, []).decision == "INCONCLUSIVE"


def test_the_answer_rate_is_a_fact_about_all_queries_and_not_a_sample(tmp_path):
    """An interval would call 40 answers to 40 queries inconclusive for every floor above 0.912."""
    result = perfect(40, 40, tmp_path)
    assert judge_floors(result, [Floor(metric="answer_rate", minimum=0.999)]).decision == "PASS"


def test_a_lucky_order_of_ties_does_not_pass(evalset):
    lucky = Scripted({name.encode(): [Hit(1, "g1", 0.2), Hit(3, "g2", 0.2)] for name in "1234"})
    result = evaluate(evalset, CATALOG, lucky, searcher_facts={}, ks=(1,))
    assert table(result)["hit@1"] == 0.25
    row = judge_floors(result, [Floor(metric="hit@1", minimum=0.01)]).evidence[0]
    assert row.value == 0.0


def test_a_system_that_answers_nothing_is_an_error_and_not_a_score(evalset):
    verdict = judge_floors(run(evalset, Scripted({})), [Floor(metric="hit@1", minimum=0.0)])
    assert (verdict.decision, verdict.is_error) == ("INCONCLUSIVE", True)
    assert "none of 4 queries was answered" in verdict.reason
    assert [row.decision for row in verdict.evidence] == ["INCONCLUSIVE"]


def test_an_empty_slice_or_too_few_queries_decide_nothing(evalset, searcher):
    result = run(evalset, searcher)
    verdict = judge_floors(
        result,
        [
            Floor(metric="hit@1", minimum=0.0, slice="category=socks"),
            Floor(metric="recall@2", minimum=0.0, min_n=5),
        ],
    )
    assert [row.decision for row in verdict.evidence] == ["INCONCLUSIVE", "INCONCLUSIVE"]
    assert verdict.evidence[1].reason == "4 queries are fewer than the 5 asked for"


def test_a_floor_on_what_was_not_measured_is_a_configuration_error(evalset, searcher):
    with pytest.raises(ConfigError, match=r"unknown metric 'hit@3'; did you mean hit@"):
        judge_floors(run(evalset, searcher), [Floor(metric="hit@3", minimum=0.5)])
    for metric in ("hit@0", "hit@1.best", "map"):
        with pytest.raises(ValidationError, match="metric"):
            Floor(metric=metric, minimum=0.5)
