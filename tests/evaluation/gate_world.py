"""A small world for the gate: products in categories, days and frequencies, and a system that answers well, not best.

Every figure is a function of the row, so that tests can count by hand; nothing is drawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date as Date
from datetime import timedelta

import numpy as np

from evaluation.answers import Answers, Status
from evaluation.catalog import CatalogImage, Role
from evaluation.evalset import EvalSet, Gallery, Label, Query
from evaluation.measure import measure
from evaluation.measured import Measured
from evaluation.set_content import evalset_of
from evaluation.system import Fact, System, View

FIRST = Date(2026, 11, 1)
DAYS, CATEGORIES, WIDTH = 4, 3, 12
AS_OF = Date(2026, 11, 20)


def world(products: int = 600, queries_each: int = 3) -> EvalSet:
    """Return a set: a third of the products has one picture, a third three, a third six; all categories alike."""
    catalog, queries, labels = [], [], []
    for product in range(products):
        group, category = f"g{product:04d}", f"c{product % CATEGORIES}"
        for copy in range((1, 3, 6)[(product // CATEGORIES) % 3]):
            day = FIRST + timedelta(days=(product // 9 + copy) % DAYS)
            catalog.append(
                CatalogImage(
                    image_id=f"{product:04d}-{copy}", group_id=group, category=category, first_day=day, last_day=day
                )
            )
        for number in range(queries_each):
            name = f"q{product:04d}-{number}"
            queries.append(Query(query_id=name, category=category, cluster=group))
            labels.append(Label(query_id=name, group_id=group))
    catalog += [
        CatalogImage(image_id=f"noise-{n}", group_id=f"noise-{n}", category=f"c{n % CATEGORIES}", role=Role.NOISE)
        for n in range(50)
    ]
    gallery = Gallery(query_domain="drawn", gallery_domain="drawn", as_of=AS_OF)
    return evalset_of("small", queries, labels, catalog, gallery)


def answers(evalset: EvalSet, misses: Sequence[int] = ()) -> Answers:
    """Return answers with all pictures of the query's product first, then noise; some rows have noise only."""
    pictures: dict[str, list[str]] = {}
    for image in evalset.catalog:
        if image.role is Role.PRODUCT:
            pictures.setdefault(image.group_id, []).append(image.image_id)
    missing = set(misses)
    row, names = [], []
    for number, query in enumerate(evalset.queries):
        own = [] if number in missing else pictures[query.cluster]
        noise = [f"noise-{(number + step) % 50}" for step in range(WIDTH - len(own))]
        names += own + noise
        row += [number] * WIDTH
    n = len(evalset.queries)
    return Answers(
        query_ids=tuple(query.query_id for query in evalset.queries),
        statuses=(Status.ANSWERED,) * n,
        row=np.array(row, np.int64),
        image_id=np.array(names, np.object_),
        distance=np.tile(np.linspace(0.1, 0.9, WIDTH), n),
    )


def facts(evalset: EvalSet) -> tuple[Fact, ...]:
    """Return what a sound index says of itself."""
    products = len({image.group_id for image in evalset.catalog if image.role is Role.PRODUCT})
    days = [(FIRST + timedelta(days=number)).isoformat() for number in range(DAYS)]
    clean = ("resurrected_takedowns", "orphan_ids", "duplicate_ids", "merge_contract_violations")
    return (
        Fact(metric="groups_with_zero_images", value=0, n=products),
        *(Fact(metric=name, value=0) for name in clean),
        *(Fact(metric="self_recall@1", slice=f"day={day}", value=1, n=200) for day in days),
        *(
            Fact(metric="self_recall@1", slice=f"category=c{number},day={day}", value=1, n=150)
            for number in range(CATEGORIES)
            for day in days
        ),
        Fact(metric="latency_p99_ms", value=12.5, samples=(12.0, 12.5, 13.0, 12.2, 12.9)),
        Fact(metric="index_bytes_per_row", value=40),
    )


def system(evalset: EvalSet, misses: Sequence[int] = (), name: str = "release") -> System:
    """Return a system of an index, with exact search that finds as much."""
    found = answers(evalset, misses)
    return System(
        name=name,
        views={View.SERVED: found, View.EXACT: found},
        facts=facts(evalset),
        inputs={"index": "a" * 64, "model": "b" * 64},
    )


def measured(evalset: EvalSet, misses: Sequence[int] = (), name: str = "release") -> Measured:
    """Return the system measured."""
    return measure(system(evalset, misses, name), evalset)


def with_facts(found: Measured, *changed: Fact) -> Measured:
    """Return a system with some facts in place of those of the same metric and slice."""
    places = {(one.metric, one.slice) for one in changed}
    kept = [one for one in found.facts if (one.metric, one.slice) not in places]
    return replace(found, facts=(*kept, *changed))
