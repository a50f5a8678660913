"""A generation under the gate: what it lost is a miss, and what is broken in an index is found by its facts."""

from __future__ import annotations

import datetime as dt
import hashlib
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pytest
import yaml
from numpy.typing import NDArray
from PIL import Image

from evaluation.answers import Status
from evaluation.catalog import CatalogImage
from evaluation.evalset import EvalSet, Gallery, Label, Query
from evaluation.gate import judge
from evaluation.gate_spec import GateSpec
from evaluation.measure import measure
from evaluation.searchers.index import system_of
from evaluation.searchers.service import ask_service
from evaluation.set_content import evalset_of
from evaluation.system import View
from evaluation.unlabelled import self_hit
from pipeline.index.lists import Rows, index_vectors, read_rows, write_rows
from pipeline.index.quantizer import from_bytes, to_bytes, train_quantizer
from pipeline.index.shard import build_shard
from pipeline.lake import Lake
from pipeline.release.manifest import CategoryIndex
from pipeline.serve.generation import Generation
from pipeline.serve.under_test import UnderTest, bytes_per_row, contract_violations, held, recall_by_nprobe, self_probe
from pipeline.tasks import evaluate
from pipeline.tasks.candidate import CatalogRow
from reporting.errors import ConfigError
from reporting.topology import Topology
from tests.checks.sinks.receiver import Receiver, Reply
from tests.pipeline.searchable import FRONT, Library, encoded, make_library, shelve

Entries = dict[str, CategoryIndex]
DAY = dt.date(2026, 11, 1)


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Library:
    """Six pictures of two objects each; of picture n the main object is item 2n + 1, the second item 2n + 2."""
    return make_library(tmp_path, monkeypatch)


def pictures(library: Library) -> list[bytes]:
    return [library.items[2 * number + 1].data for number in range(6)]


def catalog_rows(library: Library, *more: CatalogRow) -> list[CatalogRow]:
    rows = [
        CatalogRow(f"g{item.id}", sha256(item.data), item.category, ("acme", f"s{item.id}"), sha256(item.data))
        for item in library.items.values()
    ]
    return [*rows, *more]


def labelled_set(library: Library, rows: Sequence[CatalogRow], wanted: Mapping[int, str] | None = None) -> EvalSet:
    """Ask for the main object of each picture, by the same pixels in other bytes; `wanted` names other groups."""
    queries, labels = [], []
    for number, item in ((number, library.items[2 * number + 1]) for number in range(6)):
        name = f"q{number}.png"
        data = encoded(Image.open(io.BytesIO(item.data)), compress_level=1)
        library.picture(name, data)
        assert data != item.data
        group = (wanted or {}).get(number, f"g{item.id}")
        queries.append(
            Query(query_id=f"q{number}", path=name, sha256=sha256(data), category=item.category, cluster=group)
        )
        labels.append(Label(query_id=f"q{number}", group_id=group))
    catalog = [
        CatalogImage(image_id=f"p-{row.sha256[:8]}", group_id=row.group, category=row.category, sha256=row.sha256)
        for row in rows
    ]
    gallery = Gallery(query_domain="drawn", gallery_domain="drawn", as_of=DAY, no_distractors="all are products")
    return evalset_of("drawn", queries, labels, catalog, gallery, root=library.folder)


def under_test(library: Library, entries: Entries, rows: Sequence[CatalogRow]) -> UnderTest:
    return UnderTest("it", Generation(library.lake, entries, FRONT), {"index": "a" * 64}, lambda: rows)


def without(library: Library, *lost: int) -> Entries:
    kept = [item for number, item in library.items.items() if number not in lost]
    return shelve(library.lake, kept, library.models)


def test_a_sound_index_finds_everything_from_every_side_and_has_clean_facts(library: Library) -> None:
    rows = catalog_rows(library)
    evalset = labelled_set(library, rows)
    system = system_of(under_test(library, without(library), rows), evalset, latency_queries=2, latency_runs=3)
    assert set(system.views) == set(View)
    measured = measure(system, evalset)
    assert measured.values["hit@1"].tolist() == [1.0] * 6
    for name in ("label_loss@10", "routing_loss@10", "model_loss@10", "ann_loss@10"):
        assert measured.values[name].tolist() == [0.0] * 6, name
    values = {(fact.metric, fact.slice): fact.value for fact in system.facts}
    for name in ("groups_with_zero_images", "orphan_ids", "duplicate_ids", "merge_contract_violations"):
        assert values[name, "all"] == 0, name
    assert values["live_groups", "all"] == 12
    assert values["self_recall@1", "category=odd,day=2026-11-01"] == 1
    assert values["rows", "category=even"] == 6
    (p99,) = (fact for fact in system.facts if fact.metric == "latency_p99_ms")
    assert (p99.n, len(p99.samples)) == (6, 3)
    assert system.curve == {1: 1.0}


def test_a_picture_that_the_index_lost_is_a_miss_and_its_groups_have_no_image(library: Library) -> None:
    rows = catalog_rows(library)
    evalset = labelled_set(library, rows)
    system = system_of(under_test(library, without(library, 5, 6), rows), evalset)
    measured = measure(system, evalset)
    assert measured.values["hit@10"].tolist() == [1, 1, 0, 1, 1, 1]
    assert measured.values["answer_rate"].tolist() == [1] * 6  # a miss, not a query that vanished
    lost = measured.fact("groups_with_zero_images")
    assert lost is not None
    assert (lost.value, lost.n, lost.examples) == (2, 12, ("g5", "g6"))
    assert system.absent == frozenset({f"p-{sha256(pictures(library)[2])[:8]}"})


def test_a_dropped_duplicate_is_found_by_its_survivor_alone(library: Library) -> None:
    """Its offer is held by the survivor; the very same catalogue without that is a lost product."""
    dropped = sha256(b"another file of picture 0")
    survivor = sha256(pictures(library)[0])
    merged = CatalogRow("twin", dropped, "even", ("acme", "s1"), survivor)
    foreign = CatalogRow("twin", dropped, "even", ("acme", "nobody's"), survivor)
    misses, lost = {}, {}
    for name, row in (("merged", merged), ("foreign", foreign)):
        rows = catalog_rows(library, row)
        evalset = labelled_set(library, rows, {0: "twin"})
        subject = under_test(library, without(library), rows)
        assert subject.survivors() == ({dropped: survivor} if name == "merged" else {})
        measured = measure(system_of(subject, evalset), evalset)
        misses[name] = measured.values["hit@1"].tolist().count(0)
        fact = measured.fact("groups_with_zero_images")
        assert fact is not None
        lost[name] = fact.examples
    assert misses == {"merged": 0, "foreign": 1}
    assert lost == {"merged": (), "foreign": ("twin",)}


def test_a_picture_that_the_catalogue_does_not_know_is_an_orphan(library: Library) -> None:
    known = [row for row in catalog_rows(library) if row.group not in ("g11", "g12")]
    evalset = labelled_set(library, known, {5: "g1"})
    facts = system_of(under_test(library, without(library), known), evalset).facts
    (orphans,) = (fact for fact in facts if fact.metric == "orphan_ids")
    assert (orphans.value, orphans.examples) == (1, (sha256(pictures(library)[5]),))


def test_a_picture_that_cannot_be_decoded_is_an_error_of_its_query_alone(library: Library) -> None:
    rows = catalog_rows(library)
    whole = labelled_set(library, rows)
    library.picture("q3.png", b"no picture")
    broken = whole.queries[3].model_copy(update={"sha256": sha256(b"no picture")})
    queries = [*whole.queries[:3], broken, *whole.queries[4:]]
    evalset = evalset_of("drawn", queries, whole.labels, whole.catalog, whole.gallery, root=whole.root)
    measured = measure(system_of(under_test(library, without(library), rows), evalset), evalset)
    assert measured.values["answer_rate"].tolist() == [1, 1, 1, 0, 1, 1]
    assert measured.errors["q3"].startswith("undecodable: ")


Change = Callable[[Rows], Rows]


def mutated(lake: Lake, entry: CategoryIndex, change: Change, quantizer: Any = None, **fields: Any) -> CategoryIndex:
    """Return an entry whose index holds changed rows, behind other centroids if given, and is what its hash says."""
    index = from_bytes(lake.read_bytes(entry.index_path))
    rows = change(read_rows(index))
    index = from_bytes(to_bytes(index)) if quantizer is None else quantizer
    index.reset()
    write_rows(index, rows)
    data = to_bytes(index)
    path = f"mutated/{sha256(data)}.faiss"
    lake.write_bytes(path, data)
    return entry.model_copy(update={"index_path": path, "index_sha256": sha256(data), **fields})


def turned_ids(rows: Rows) -> Rows:
    """Give each vector the next one's id."""
    return replace(rows, ids=np.roll(rows.ids, 1))


def turned_lists(rows: Rows) -> Rows:
    """Put each row where it does not belong."""
    return replace(rows, list_numbers=(rows.list_numbers + 1) % (rows.list_numbers.max() + 1))


def test_shuffled_ids_are_found_by_pictures_that_no_longer_find_themselves(library: Library) -> None:
    """The vectors still find themselves: only a picture, or a label, can tell."""
    items = [library.items[2 * number + 1] for number in range(6)]
    probes = [(sha256(item.data), item.category, item.data) for item in items]
    entries = without(library)
    sound = self_hit(under_test(library, entries, []), probes)
    assert (sound.share, sound.holds) == (1.0, True)
    shuffled = {name: mutated(library.lake, entry, turned_ids) for name, entry in entries.items()}
    found = self_hit(under_test(library, shuffled, []), probes)
    assert (found.found, found.holds, found.unanswered) == (0, False, [])
    assert found.reason.startswith("0 of 6 indexed pictures find themselves first (0.0000, 95 % 0.0000 to 0.")
    rows = catalog_rows(library)
    measured = measure(
        system_of(under_test(library, shuffled, rows), labelled_set(library, rows)), labelled_set(library, rows)
    )
    assert measured.values["hit@1"].sum() == 0
    assert [probed.found for probed in self_probe(Generation(library.lake, shuffled), 10)] == [6, 6]


def test_self_hit_of_nothing_proves_nothing(library: Library) -> None:
    found = self_hit(under_test(library, without(library), []), [])
    assert (found.share, found.holds) == (0.0, False)


def swapped(lake: Lake, entries: Entries) -> Entries:
    tables = {name: (entry.items_path, entry.items_sha256) for name, entry in entries.items()}
    other = {"even": tables["odd"], "odd": tables["even"]}
    return {
        name: entry.model_copy(update={"items_path": other[name][0], "items_sha256": other[name][1]})
        for name, entry in entries.items()
    }


def one_row_less(lake: Lake, entries: Entries) -> Entries:
    cut = mutated(lake, entries["even"], lambda rows: Rows(rows.list_numbers[1:], rows.ids[1:], rows.codes[1:]))
    return entries | {"even": cut}


def held_twice(lake: Lake, entries: Entries) -> Entries:
    def double(rows: Rows) -> Rows:
        twice = np.r_[np.arange(len(rows.ids)), 0]
        return Rows(rows.list_numbers[twice], rows.ids[twice], rows.codes[twice])

    return entries | {"odd": mutated(lake, entries["odd"], double, rows=7)}


def one_index_for_two(_: Lake, entries: Entries) -> Entries:
    return {"even": entries["even"], "odd": entries["even"]}


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (
            swapped,
            ["even: 12 ids are in one of index and item table", "odd: 12 ids are in one of index and item table"],
        ),
        (
            one_row_less,
            ["even: 5 rows in the index, 6 in the manifest", "even: 1 ids are in one of index and item table"],
        ),
        (held_twice, ["odd: 1 ids are held twice"]),
        (one_index_for_two, [f"odd: id {number} is even's" for number in (1, 4, 5, 8, 9, 12)]),
    ],
    ids=["tables swapped", "a row less", "a row twice", "one index for two"],
)
def test_a_broken_merge_is_named(library: Library, spoil: Callable[[Lake, Entries], Entries], said: list[str]) -> None:
    entries = without(library)
    assert contract_violations(Generation(library.lake, entries)) == []
    assert contract_violations(Generation(library.lake, spoil(library.lake, entries))) == said


def test_an_index_with_the_item_table_of_another_category_is_a_fail_and_no_crash(library: Library) -> None:
    rows = catalog_rows(library)
    evalset = labelled_set(library, rows)
    system = system_of(under_test(library, swapped(library.lake, without(library)), rows), evalset)
    assert set(system.views[View.SERVED].statuses) == {Status.ERROR}
    assert all("merge contract" in why for why in system.views[View.SERVED].errors.values())
    rules = "schema: gate/1\nrules: [{id: contract, kind: invariant, metric: merge_contract_violations, equals: 0}]\n"
    spec = GateSpec.model_validate(yaml.safe_load(rules))
    verdict = judge(spec, evalset, measure(system, evalset), as_of=DAY, tool="test", config_sha256="0" * 64)
    assert verdict.verdict == "FAIL"


def test_an_id_that_is_held_twice_is_a_duplicate_of_the_census(library: Library) -> None:
    rows = catalog_rows(library)
    subject = under_test(library, held_twice(library.lake, without(library)), rows)
    facts = {
        fact.metric: fact.value for fact in system_of(subject, labelled_set(library, rows)).facts if fact.slice == "all"
    }
    assert (facts["duplicate_ids"], facts["merge_contract_violations"]) == (1, 1)


@pytest.mark.slow
def test_what_search_prints_is_an_answer_of_a_service(library: Library, main_in: Callable[..., Any]) -> None:
    rows = catalog_rows(library)
    evalset = labelled_set(library, rows)
    printed = {}
    for query in evalset.queries:
        ended = main_in(library.folder, "search", query.path, "-k", "5", "--json")
        assert ended.code == 0, ended.err
        printed[query.query_id] = Reply(body=ended.out.encode())
    with Receiver(lambda request: printed[request.headers["x-query-id"]]) as service:
        asked = measure(ask_service(service.url, evalset), evalset)
    assert asked.values["hit@1"].tolist() == [1.0] * 6
    own = measure(system_of(under_test(library, without(library), rows), evalset), evalset)
    assert (asked.values["recall@5"] == own.values["recall@5"]).all()


def test_a_cut_that_is_not_declared_is_refused_before_anything_is_asked(repository: Path) -> None:
    graph = Topology.load(repository / "pipeline/default.yaml")
    leaf = SimpleNamespace(topology=graph, key=SimpleNamespace(task="evaluate"))
    with pytest.raises(ConfigError, match="declare the metric hit_at_20 of task evaluate"):
        evaluate.run(cast(Any, leaf), evaluate.Settings(ks=(1, 20)))


CELLS, COUNT, DIMENSION = 8, 400, 16


def shelf_of(lake: Lake) -> tuple[CategoryIndex, NDArray[np.float32]]:
    """Write an index of 400 drawn vectors in 8 lists, its days alternating; return it and the vectors."""
    vectors = np.random.default_rng(5).normal(size=(COUNT, DIMENSION)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    index = build_shard(to_bytes(train_quantizer(vectors, nlist=CELLS)), np.arange(COUNT, dtype=np.int64), vectors)
    days = [DAY + dt.timedelta(days=number % 2) for number in range(COUNT)]
    items = [
        {"id": number, "picture": f"{number:064x}", "group": "g", "first_day": day} for number, day in enumerate(days)
    ]
    lake.write_bytes("one.faiss", index)
    lake.write_table("one.parquet", pa.Table.from_pylist(items))
    entry = CategoryIndex(
        model="one@1",
        space_id="one",
        index_path="one.faiss",
        index_sha256=sha256(index),
        items_path="one.parquet",
        items_sha256=sha256(lake.read_bytes("one.parquet")),
        rows=COUNT,
        nprobe=1,
    )
    return entry, vectors


def test_the_self_probe_asks_each_day_evenly_and_a_sound_index_finds_all(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path))
    generation = Generation(lake, {"one": shelf_of(lake)[0]})
    days = (DAY, DAY + dt.timedelta(days=1))
    assert self_probe(generation, 1000) == [(day, "one", 200, 200) for day in days]
    assert self_probe(generation, 50) == [(day, "one", 50, 50) for day in days]
    assert [day for _, _, day in held(generation)] == [DAY + dt.timedelta(days=number % 2) for number in range(COUNT)]
    assert bytes_per_row(generation) == len(lake.read_bytes("one.faiss")) / COUNT
    # Brute force: a row's own list is that of its nearest centroid, so one list is enough for it and not for all.
    assert contract_violations(generation) == []


def test_the_self_probe_finds_shuffled_lists_and_a_swapped_codebook(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path))
    entry, vectors = shelf_of(lake)
    foreign = train_quantizer(np.ascontiguousarray(-vectors[::-1]), nlist=CELLS)
    for broken in (mutated(lake, entry, turned_lists), mutated(lake, entry, lambda rows: rows, quantizer=foreign)):
        generation = Generation(lake, {"one": broken})
        assert contract_violations(generation) == []  # every count adds up
        probed = self_probe(generation, 1000)
        assert sum(one.asked for one in probed) == COUNT
        assert all(one.found < 0.99 * one.asked for one in probed)
        everywhere = Generation(lake, {"one": broken.model_copy(update={"nprobe": CELLS})})
        assert all(one.found == one.asked for one in self_probe(everywhere, 1000))


def in_lists(lake: Lake, entry: CategoryIndex, count: int) -> CategoryIndex:
    """Return an entry whose rows lie in several lists."""
    ids, vectors = index_vectors(from_bytes(lake.read_bytes(entry.index_path)))
    many = np.repeat(vectors, 39, axis=0)  # k-means wants 39 for each list
    index = build_shard(to_bytes(train_quantizer(many, nlist=count)), ids, vectors)
    path = f"lists/{sha256(index)}.faiss"
    lake.write_bytes(path, index)
    return entry.model_copy(update={"index_path": path, "index_sha256": sha256(index)})


def test_the_curve_rises_with_nprobe_to_1_and_what_one_list_loses_is_ann_loss(library: Library) -> None:
    entries = {name: in_lists(library.lake, entry, 3) for name, entry in without(library).items()}
    curve = recall_by_nprobe(Generation(library.lake, entries, FRONT), pictures(library), 3)
    assert list(curve) == [1, 2, 3]
    assert curve[1] < curve[2] <= curve[3] == 1.0
    rows = catalog_rows(library)
    views = system_of(under_test(library, entries, rows), labelled_set(library, rows)).views
    served, exact = (views[view].image_id for view in (View.SERVED, View.EXACT))
    assert len(exact) == 6 * 6  # every picture of the category
    assert len(served) < len(exact)
