"""A small world for the gate's outputs: two systems whose every list is written down, so that tests know each cause."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date as Date
from pathlib import Path

from evaluation.answers import Hit, Status, answers_of
from evaluation.catalog import CatalogImage, Role
from evaluation.evalset import EvalSet, Gallery, Label, Query
from evaluation.gate import judge
from evaluation.gate_spec import GateSpec
from evaluation.measure import measure
from evaluation.measured import Measured
from evaluation.set_content import evalset_of
from evaluation.system import Fact, System, View
from evaluation.verdict import GateVerdict

AS_OF = Date(2026, 11, 20)
HOSTILE = '"><script>alert(1)</script>&{{7*7}}'
"""Without blanks, as an id must be."""
SPEC = GateSpec.model_validate(
    {
        "schema": "gate/1",
        "rules": [
            {"id": "hit-floor", "kind": "floor", "metric": "hit@3", "min": 0.9},
            {"id": "hit-ni", "kind": "noninferior", "metric": "hit@3", "margin_pp": 5, "vs": ["release"]},
            {"id": "cat-ni", "kind": "noninferior", "metric": "hit@3", "margin_pp": 9, "slice": "category=*"},
            {"id": "waived-rule", "kind": "floor", "metric": "recall@3", "min": 0.99},
            {"id": "self", "kind": "floor", "metric": "self_recall@1", "min": 0.99, "on_missing": "not_applicable"},
        ],
        "inconclusive_warns": ["category=*"],
        "waivers": [
            {"rule": "waived-rule", "reason": "known since OPS-1", "approver": "anna", "expires": "2026-12-01"},
            {"rule": "self", "reason": "nobody renewed it", "approver": "bert", "expires": "2026-11-01"},
        ],
    }
)


def small_set(groups: int = 8, root: Path | None = None, hostile: bool = False) -> EvalSet:
    """Return a set of one query a product; product n has two pictures `gN-0` and `gN-1`, and category n % 2.

    Products 6 and 7 were last seen before the window of 30 days. Product 0 is hostile by name if asked for.
    """

    def group(number: int) -> str:
        return f"g{HOSTILE}" if hostile and number == 0 else f"g{number}"

    catalog = [
        CatalogImage(
            image_id=f"{group(number)}-{copy}",
            group_id=group(number),
            category=f"c{number % 2}",
            path=f"{number}-{copy}.png" if root else "",
            last_day=Date(2026, 9, 1) if number >= 6 else Date(2026, 11, 19 - copy),
        )
        for number in range(groups)
        for copy in range(2)
    ]
    catalog += [CatalogImage(image_id=f"noise-{n}", group_id=f"n{n}", category="c9", role=Role.NOISE) for n in range(6)]
    queries = [
        Query(query_id=f"q{number}{HOSTILE if hostile and number == 0 else ''}", category=f"c{number % 2}",
              cluster=group(number), path=f"q{number}.png" if root else "")
        for number in range(groups)
    ]  # fmt: skip
    labels = [Label(query_id=query.query_id, group_id=query.cluster) for query in queries]
    gallery = Gallery(query_domain="drawn", gallery_domain="drawn", as_of=AS_OF, window_days=30)
    return evalset_of("small", queries, labels, catalog, gallery, root=root)


def hits(*names: str, start: float = 0.1, step: float = 0.1) -> list[Hit]:
    """Return hits at rising distances."""
    return [Hit(name, start + step * place) for place, name in enumerate(names)]


def system(
    evalset: EvalSet,
    lists: Mapping[View, Mapping[int, Sequence[Hit]]],
    *,
    name: str = "candidate",
    absent: frozenset[str] | None = None,
    statuses: Mapping[int, Status] | None = None,
    errors: Mapping[int, str] | None = None,
    facts: tuple[Fact, ...] = (),
) -> Measured:
    """Measure a system that finds everything in every view, but for the lists that are given by view and row."""
    ids = [query.query_id for query in evalset.queries]
    views = {}
    for view, of_view in lists.items():
        found = {
            query.query_id: list(
                of_view.get(row, hits(f"{query.cluster}-0", f"{query.cluster}-1", "noise-0", "noise-1"))
            )
            for row, query in enumerate(evalset.queries)
        }
        told = {ids[row]: status for row, status in (statuses or {}).items()}
        views[view] = answers_of(
            ids, found, statuses=told, errors={ids[row]: text for row, text in (errors or {}).items()}
        )
    one = System(name, views, facts, {"run": name.encode().hex().ljust(64, "0")[:64]}, {1: 0.6, 4: 0.9, 16: 1.0})
    measured = measure(one, evalset, ks=(1, 3))
    return replace(measured, absent=absent, statuses=views[View.SERVED].statuses)


NOISE = ("noise-0", "noise-1", "noise-2", "noise-3", "noise-4")


def bad_candidate(evalset: EvalSet) -> Measured:
    """Return a run that loses rows 0, 2 and 4, and half of the recall of row 1."""
    own = evalset.queries[1].cluster
    served = {0: hits(*NOISE), 1: hits(f"{own}-0", *NOISE), 2: hits(*NOISE[:3], "g2-1"), 4: hits(*NOISE)}
    return system(evalset, {View.SERVED: served}, name=f"new-{HOSTILE}", statuses={4: Status.TIMEOUT})


def verdict_of(
    evalset: EvalSet, candidate: Measured, release: Measured | None = None, *, warn: bool = False
) -> GateVerdict:
    """Judge by SPEC."""
    return judge(
        SPEC,
        evalset,
        candidate,
        release=release,
        as_of=AS_OF,
        tool="funnelgate 0.0",
        config_sha256="c" * 64,
        warn_inconclusive=warn,
    )
