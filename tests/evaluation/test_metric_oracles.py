"""Three ways to one number: our arrays, pytrec_eval, and SQL in DuckDB."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import pyarrow as pa
import pytest
import pytrec_eval

from evaluation.answers import Answers, Status
from evaluation.catalog import CatalogImage
from evaluation.evalset import EvalSet, Label, Query
from evaluation.measured import Ranked
from evaluation.metrics import value_of
from evaluation.ranking import rank
from tests.evaluation.slow_ranking import GALLERY

KS = (1, 5, 10, 100)
# Every value per query: the first k of the worst order of ties, from raw hits to numbers.
SQL = """
WITH kept AS (
    SELECT hit.q, hit.image, min(hit.distance) AS distance FROM hit
    JOIN query USING (q) LEFT JOIN picture USING (image)
    WHERE hit.image <> '' AND query.answered AND (query.sha = '' OR coalesce(picture.sha, '') <> query.sha)
    GROUP BY hit.q, hit.image
), graded AS (
    SELECT kept.*, coalesce(picture.grp, '=' || kept.image) AS grp, coalesce(label.grade, 0) AS grade FROM kept
    LEFT JOIN picture USING (image) LEFT JOIN label ON label.q = kept.q AND label.grp = picture.grp
), placed AS (
    SELECT *, row_number() OVER (PARTITION BY q ORDER BY distance, grade) AS place FROM graded
), shown AS (
    SELECT q, grp, min(distance) AS distance, max(grade) AS grade FROM graded GROUP BY q, grp
), shown_placed AS (
    SELECT *, row_number() OVER (PARTITION BY q ORDER BY distance, grade) AS place FROM shown
), wanted AS (
    SELECT label.q, picture.image, label.grade,
        row_number() OVER (PARTITION BY label.q ORDER BY label.grade DESC) AS place
    FROM label JOIN picture USING (grp) JOIN query USING (q)
    WHERE label.grade > 0 AND (query.sha = '' OR picture.sha <> query.sha)
), findable AS (
    SELECT query.q, count(wanted.image) AS r FROM query LEFT JOIN wanted USING (q) GROUP BY query.q
), precise AS (
    SELECT q, place, grade > 0 AS relevant,
        sum((grade > 0)::INT) OVER (PARTITION BY q ORDER BY place) / place AS precision
    FROM placed
)
SELECT findable.q, findable.r,
    coalesce((SELECT max((grade > 0)::INT) FROM shown_placed s WHERE s.q = findable.q AND place <= $k), 0) AS hit,
    coalesce((SELECT count(*) FROM placed p WHERE p.q = findable.q AND place <= $k AND grade > 0), 0)
        / greatest(r, 1) AS recall,
    coalesce((SELECT count(*) FROM placed p WHERE p.q = findable.q AND place <= $k AND grade > 0), 0)
        / greatest(least(r, $k), 1) AS capped_recall,
    coalesce((SELECT 1 / min(place) FROM shown_placed s WHERE s.q = findable.q AND grade > 0), 0) AS mrr,
    coalesce((SELECT sum(precision) FROM precise p WHERE p.q = findable.q AND relevant AND place <= r), 0)
        / greatest(r, 1) AS map_at_r,
    coalesce((SELECT sum(grade / log2(place + 1)) FROM placed p WHERE p.q = findable.q AND place <= $k), 0)
        / coalesce((SELECT sum(grade / log2(place + 1)) FROM wanted w WHERE w.q = findable.q AND place <= $k), 1)
        AS ndcg,
    ((SELECT count(*) FROM shown s WHERE s.q = findable.q) < $k)::INT AS short_list
FROM findable ORDER BY findable.q
"""


def random_world(seed: int, *, n: int = 300, catalog: int = 2000, depth: int = 120) -> tuple[EvalSet, Answers]:
    """Draw a set of many products and answers full of ties, duplicates, padding, orphans, self-matches, failures."""
    random = np.random.default_rng(seed)
    hashes = [f"{number:064x}" for number in range(catalog)]
    images = tuple(
        CatalogImage(image_id=str(at), group_id=f"g{random.integers(0, 400)}", category="c", sha256=hashes[at])
        for at in range(catalog)
    )
    queries = tuple(
        Query(query_id=f"q{at:04d}", category="c", cluster=f"q{at}", sha256=str(random.choice(["", hashes[at]])))
        for at in range(n)
    )
    labels = tuple(
        Label(query_id=query.query_id, group_id=f"g{group}", grade=int(random.choice([0, 1, 2, 2])))
        for query in queries
        for group in random.choice(410, random.integers(0, 4), replace=False)
    )
    wanted: dict[str, list[str]] = defaultdict(list)
    for image in images:
        wanted[image.group_id].append(image.image_id)
    rows, names, distances = [], [], []
    for row, query in enumerate(queries):
        right = [name for one in labels if one.query_id == query.query_id for name in wanted[one.group_id]]
        pool = [*random.integers(0, catalog + 50, depth).astype(str), *random.permutation(right), "", str(row)]
        picked = random.choice(np.array(pool, np.object_), int(random.integers(0, depth)))
        rows += [row] * len(picked)
        names += picked.tolist()
        nearer = np.where(np.isin(picked, right), 0.3, 1.0)
        distances += (np.round(random.random(len(picked)) * nearer * 40) / 40).tolist()
    answers = Answers(
        query_ids=tuple(query.query_id for query in queries),
        statuses=tuple(random.choice(np.array([Status.ANSWERED, Status.ERROR], np.object_), n, p=[0.95, 0.05])),
        row=np.array(rows, np.int64),
        image_id=np.array(names, np.object_),
        distance=np.array(distances, np.float64),
    )
    return EvalSet("random", "1" * 64, queries, labels, images, GALLERY), answers


@pytest.mark.parametrize("k", KS)
def test_every_query_has_the_value_that_sql_gives(k):
    import duckdb

    evalset, answers = random_world(k)
    connection = duckdb.connect()
    tables = {
        "query": {
            "q": [query.query_id for query in evalset.queries],
            "sha": [query.sha256 for query in evalset.queries],
            "answered": [status is Status.ANSWERED for status in answers.statuses],
        },
        "label": {
            "q": [label.query_id for label in evalset.labels],
            "grp": [label.group_id for label in evalset.labels],
            "grade": [label.grade for label in evalset.labels],
        },
        "picture": {
            "image": [image.image_id for image in evalset.catalog],
            "grp": [image.group_id for image in evalset.catalog],
            "sha": [image.sha256 for image in evalset.catalog],
        },
        "hit": {
            "q": [answers.query_ids[row] for row in answers.row],
            "image": answers.image_id.tolist(),
            "distance": answers.distance.tolist(),
        },
    }
    for name, columns in tables.items():
        connection.register(name, pa.table(columns))
    expected = connection.execute(SQL, {"k": k}).fetchall()
    names = [column[0] for column in connection.description]
    connection.close()
    ranked = rank(answers, evalset)
    assert ranked.findable.tolist() == [row[1] for row in expected]
    assert 0.02 < value_of(f"hit@{k}", ranked).mean() < 0.9
    for at, base in enumerate(names[2:], 2):
        ours = value_of(base if base in ("mrr", "map_at_r") else f"{base}@{k}", ranked)
        np.testing.assert_allclose(ours, [row[at] for row in expected], atol=1e-12, err_msg=base)


def as_trec(ranked: Ranked, evalset: EvalSet) -> tuple[dict[str, dict[str, int]], dict[str, dict[str, float]]]:
    """Write a ranked run and its judgements as pytrec_eval's dictionaries, scores told from the ranks."""
    groups: dict[str, list[str]] = defaultdict(list)
    for image in evalset.catalog:
        groups[image.group_id].append(image.image_id)
    judged: dict[str, dict[str, int]] = {query.query_id: {} for query in evalset.queries}
    for label in evalset.labels:
        for name in groups[label.group_id]:
            judged[label.query_id][name] = label.grade
    run: dict[str, dict[str, float]] = {}
    for query, names in zip(evalset.queries, ranked.image_names, strict=True):
        listed = [name for name in names if name]
        run[query.query_id] = {name: float(len(listed) - place) for place, name in enumerate(listed)}
    return judged, run


def test_every_query_has_the_value_that_pytrec_eval_gives_for_the_same_order():
    """Every picture its own group, so that groups are pictures; distances without ties."""
    random = np.random.default_rng(3)
    n, catalog, depth = 400, 3000, 100
    images = tuple(CatalogImage(image_id=str(at), group_id=f"g{at}", category="c") for at in range(catalog))
    queries = tuple(Query(query_id=f"q{at:04d}", category="c", cluster=f"q{at}") for at in range(n))
    held = [random.choice(catalog, depth, replace=False) for _ in range(n)]
    labels = tuple(
        Label(query_id=query.query_id, group_id=f"g{group}", grade=int(random.integers(1, 3)))
        for query, found in zip(queries, held, strict=True)
        for group in {*random.choice(found, 4, replace=False).tolist(), *random.choice(catalog, 3).tolist()}
    )
    evalset = EvalSet("pytrec", "2" * 64, queries, labels, images, GALLERY)
    answers = Answers(
        query_ids=tuple(query.query_id for query in queries),
        statuses=(Status.ANSWERED,) * n,
        row=np.repeat(np.arange(n), depth),
        image_id=np.concatenate(held).astype(str).astype(np.object_),
        distance=random.random(n * depth),
    )
    ranked = rank(answers, evalset)
    judged, run = as_trec(ranked, evalset)
    cuts = ",".join(map(str, KS))
    measures = {f"recall.{cuts}", f"success.{cuts}", f"ndcg_cut.{cuts}", "recip_rank"}
    theirs = pytrec_eval.RelevanceEvaluator(judged, measures).evaluate(run)
    same = (("recall", "recall"), ("hit", "success"), ("ndcg", "ndcg_cut"))
    pairs = {f"{ours}@{k}": f"{trec}_{k}" for ours, trec in same for k in KS} | {"mrr": "recip_rank"}
    for ours, trec in pairs.items():
        expected = [theirs[query.query_id][trec] for query in queries]
        np.testing.assert_allclose(value_of(ours, ranked), expected, atol=1e-9, err_msg=ours)
