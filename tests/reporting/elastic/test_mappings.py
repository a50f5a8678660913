"""Every field of every document is mapped, nothing is mapped in vain, and a field nobody declared is refused."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from elasticsearch import Elasticsearch

from checks.result import Result
from reporting.digest import Digest
from reporting.elastic import documents
from reporting.elastic.check_documents import evaluation_document, incident_document
from reporting.elastic.client import connect
from reporting.elastic.documents import Document
from reporting.elastic.mappings import component_templates, flat_settings, index_mapping, index_templates, live_settings
from reporting.elastic.names import MONTHLY, Kind, index_of, pattern_of
from reporting.elastic.setup import setup
from reporting.key import RunKey
from reporting.plans import Cover, Leaf, Plan, PlanKind, PlanState, Source
from reporting.record import Consumed, State, TaskFailure, TaskRecord, version_of
from reporting.settings import ElasticSettings
from reporting.testing import DAY, MOMENT
from reporting.topology import Topology
from reporting.verdict import Outcome, Verdict
from tests.reporting.elastic.said import full_incident, full_result
from tests.servers.rest import call, remove_everything

PREFIX = "px"
ODD = "货 号#ä.b..c=d"
METRICS = ("hit.at.1", "hit.at", "d..e", ODD)
DAY_AFTER = DAY + timedelta(days=1)
HUGE = 2**62
LONG = "长" * 20_000  # 60,000 bytes: more than Lucene's 32,766 for one term


def full_record(**changes: Any) -> TaskRecord:
    """A record with every field of the model set to something other than its default."""
    fields: dict[str, Any] = {
        "key": RunKey(task=ODD, date=DAY, category="c d", subinstance="0003", planid="p-1"),
        "state": State.FAILED,
        "attempt": 3,
        "version": version_of(3, 7),
        "input": 10,
        "output": 2,
        "produced": 2,
        "dropped": {"blurred": 3, ODD: 1},
        "failed": {"OSError: [Errno 5] a.b..": 4, "": 0},
        "error": TaskFailure(error_class="OSError", message="disk\x00 gone"),
        "consumed": (Consumed(task="hash", date=DAY, planid="p-1", count=10),),
        "digest_in": str(Digest.of(map(str, range(10)))),
        "digest_out": str(Digest.of("ab")),
        "versions": {"model": "m1", "code.rev..": "abc", ODD: "x" * 5_000},
        "metrics": {"hit.at.1": 0.25, "hit.at": 1e308, "d..e": -0.0, ODD: 5e-324, "undeclared": 1.0},
        "started_at": MOMENT,
        "finished_at": MOMENT + timedelta(microseconds=1),
        "reported_at": MOMENT + timedelta(microseconds=123_457),
        "schema_version": 2,
    }
    return TaskRecord(**fields | changes)


def full_plan() -> Plan:
    return Plan(
        planid="p-1",
        kind=PlanKind.RERUN,
        state=PlanState.PROMOTED,
        dates=(DAY, DAY_AFTER),
        cover=(Cover(task="embed", categories=("c",), subinstances=("0001",)),),
        sources={DAY: Source(path="/a.b/..", sha256="0" * 64)},
        config={"a.b": {"": [1, None, {"..": True}]}, " ": LONG},
        config_hash="h",
        code_version="v",
        supersedes="p-0",
        promote_when_complete=True,
        reason=LONG,
        created_at=MOMENT,
        completed_at=MOMENT,
        promoted_at=MOMENT,
    )


def full_verdict() -> Verdict:
    return Verdict(
        verdict_id="v-1",
        date=DAY,
        planid="p-1",
        outcome=Outcome.INCONCLUSIVE,
        inputs={"index.faiss": "0" * 64},
        evidence=[{"rule": "floor", "n..": 1}],
        metrics={"hit@1": 0.5},
        decided_at=MOMENT,
    )


LEAF = Leaf(ODD, DAY, "c d", "0003")
WRITTEN: dict[Kind, Document] = {
    Kind.RECORDS: documents.record_document(PREFIX, full_record(), METRICS),
    Kind.EVENTS: documents.event_document(PREFIX, full_record(), documents.record_source(full_record(), METRICS)),
    Kind.EXPECTED: documents.expected_document(PREFIX, "p-1", LEAF),
    Kind.PLANS: documents.plan_document(PREFIX, full_plan(), 4),
    Kind.VERDICTS: documents.verdict_document(PREFIX, full_verdict(), 1),
    Kind.EFFECTIVE: documents.effective_document(PREFIX, LEAF, "p-1", True, 2),
    Kind.EVALUATIONS: evaluation_document(PREFIX, "run-1", full_result().model_dump(mode="json")),
    Kind.INCIDENTS: incident_document(PREFIX, full_incident().model_dump(mode="json"), 3),
}
OPAQUE = {"exact", "versions"}


def paths_of(source: dict[str, Any], path: str = "") -> Iterator[str]:
    """Yield where a document holds values; opaque objects and the flat names of metrics are one place each."""
    for name, value in source.items():
        parts = value if isinstance(value, list) else [value]
        if name in OPAQUE or not any(isinstance(part, dict) for part in parts):
            yield f"{path}{name}"
        else:
            for part in parts:
                yield from paths_of(part, f"{path}{name}.")


def mapped_paths(mapping: dict[str, Any], path: str = "") -> Iterator[str]:
    for name, field in mapping["properties"].items():
        if "properties" in field:
            yield from mapped_paths(field, f"{path}{name}.")
        else:
            yield f"{path}{name}"


def objects_of(mapping: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield mapping
    for field in mapping["properties"].values():
        if "properties" in field:
            yield from objects_of(field)


@pytest.fixture(scope="module")
def client(elastic_url: str) -> Iterator[Elasticsearch]:
    with connect(ElasticSettings(url=elastic_url)) as one:
        yield one


@pytest.fixture(scope="module")
def ready(client: Elasticsearch, elastic_url: str) -> Iterator[str]:
    """A prefix that is set up once for the tests of this file, which only add documents.

    The indices of the month are not made beforehand: the first write makes them, through the templates.
    """
    prefix = f"mappings-{secrets.token_hex(4)}"
    setup(client, prefix, METRICS)
    yield prefix
    remove_everything(elastic_url, prefix)


def prefixed(document: Document, prefix: str) -> str:
    return document.index.replace(f"{PREFIX}-", f"{prefix}-", 1)


def test_the_full_record_has_every_field_of_the_model_set():
    """A new field of the model fails here until it is set above, and then below until it is mapped."""
    record = full_record()
    least = TaskRecord(
        key=RunKey(task="t", date=DAY, planid="p"), state=State.SUCCEEDED, version=version_of(1, 0),
        input=0, output=0, produced=0, started_at=MOMENT, finished_at=MOMENT, reported_at=MOMENT,
    )  # fmt: skip
    same = {name for name in TaskRecord.model_fields if getattr(record, name) == getattr(least, name)}
    assert same == {"started_at"}


@pytest.mark.parametrize("model", [full_plan(), full_verdict()], ids=["plan", "verdict"])
def test_the_full_plan_and_verdict_have_every_field_set(model: Plan | Verdict):
    assert [name for name in type(model).model_fields if not getattr(model, name)] == []


@pytest.mark.parametrize("kind", [Kind.EVALUATIONS, Kind.INCIDENTS])
def test_the_full_result_and_incident_have_every_field_of_their_documents_set(kind: Kind):
    assert [name for name, value in WRITTEN[kind].source.items() if value in (None, "", [])] == []


def test_what_the_json_of_a_result_leaves_out_has_its_default_in_the_document():
    result = full_result().model_copy(update={"counts": True, "sentence": "", "history": None, "expected": None})
    short, long = (result.model_dump(mode="json", exclude_defaults=how) for how in (True, False))
    assert len(short) < len(long)
    found = [evaluation_document(PREFIX, "run-1", one).source | {"exact": None} for one in (short, long)]
    assert found[0] == found[1]
    assert Result.model_validate(evaluation_document(PREFIX, "run-1", short).source["exact"]) == result


@pytest.mark.parametrize("kind", Kind)
def test_every_field_of_a_document_is_mapped_and_every_mapped_field_is_used(kind: Kind):
    assert set(paths_of(WRITTEN[kind].source)) == set(mapped_paths(index_mapping(kind, METRICS)))


@pytest.mark.parametrize("kind", Kind)
def test_nothing_is_dynamic_at_any_level(kind: Kind):
    assert {one["dynamic"] for one in objects_of(index_mapping(kind, METRICS))} == {"strict"}


@pytest.mark.parametrize("kind", Kind)
def test_no_field_is_text_and_every_keyword_has_a_limit_that_fits_a_term(kind: Kind):
    for one in objects_of(index_mapping(kind, METRICS)):
        for field in one["properties"].values():
            assert field.get("type") != "text"
            if field.get("type") in ("keyword", "flattened"):
                assert field["ignore_above"] * 4 <= 32766  # Lucene's limit in bytes; UTF-8 has at most 4 a character


def test_the_longest_key_is_not_left_out_of_the_index():
    longest = RunKey(task="t" * 128, date=DAY, category="c" * 128, subinstance="s" * 128, planid="p" * 128)
    source = documents.record_source(full_record(key=longest))
    fields = index_mapping(Kind.RECORDS, METRICS)["properties"]
    for name in ("task", "category", "subinstance", "planid", "effective_key"):
        assert len(source[name]) <= fields[name]["ignore_above"]


def test_the_metrics_are_doubles_under_their_declared_names():
    generated = index_mapping(Kind.RECORDS, ["b", "a", "b"])["properties"]["metrics"]
    assert generated["properties"] == {"a": {"type": "double"}, "b": {"type": "double"}}
    assert generated["subobjects"] is False


def test_every_mapping_says_its_schema_and_metrics():
    for kind in Kind:
        kinds = sorted(kind.value for kind in Kind)
        said = index_mapping(kind, ["b", "a"])["_meta"]
        assert said == {"funnelgate_schema": 2, "kinds": kinds, "metrics": ["a", "b"]}


def test_the_templates_are_named_by_prefix_and_match_their_indices_only():
    templates = index_templates("shop")
    assert [one["index_patterns"] for one in templates.values()] == [[pattern_of("shop", kind)] for kind in Kind]
    components = set(component_templates("shop", ()))
    for body in templates.values():
        assert body["priority"] == 210
        assert set(body["composed_of"]) - set(body["ignore_missing_component_templates"]) <= components
    assert "<prefix>" not in str(templates) + str(component_templates("shop", ()))


def test_records_and_events_are_sorted_by_the_key_and_effective_is_a_lookup_index():
    templates = index_templates("shop")
    for kind in (Kind.RECORDS, Kind.EVENTS):
        settings = templates[f"shop-{kind}"]["template"]["settings"]
        assert settings["index.sort.field"] == ["date", "task", "category", "subinstance"]
    assert templates["shop-effective"]["template"]["settings"] == {"index.mode": "lookup"}


def test_the_operator_s_own_settings_go_before_ours():
    ours = live_settings()
    custom = {"template": {"settings": {"index": {"refresh_interval": "1s", "codec": "best_compression"}}}}
    assert live_settings(custom) == ours | {"index.refresh_interval": "1s"}


def test_settings_compare_however_they_are_nested():
    nested = {"index": {"sort": {"field": ["date", "task"]}, "number_of_shards": "1"}}
    dotted = {"index.sort.field": ["date", "task"], "number_of_shards": 1}
    assert flat_settings(nested) == flat_settings(dotted)


@pytest.mark.slow
@pytest.mark.elasticsearch
def test_the_real_server_takes_each_document_and_gives_it_back_and_indexes_each_field(
    client: Elasticsearch, ready: str
):
    for kind, document in WRITTEN.items():
        index = prefixed(document, ready)
        client.index(index=index, id="full", document=document.source, refresh=True)
        assert client.get(index=index, id="full")["_source"] == document.source
        query = {"ids": {"values": ["full"]}}
        hit = client.search(index=index, query=query, fields=[{"field": "*"}], source=False)["hits"]["hits"][0]
        searchable = {name.split(".")[0] if name.startswith("versions.") else name for name in hit["fields"]}
        too_long = {"reason"} if kind is Kind.PLANS else set()
        wanted = set(mapped_paths(index_mapping(kind, METRICS))) - {"exact"} - too_long
        assert searchable == wanted, kind
        assert set(hit.get("ignored_field_values", {})) - {"versions", "versions_by"} <= too_long


@pytest.mark.elasticsearch
def test_what_the_real_server_gives_back_is_the_record_the_plan_and_the_verdict(client: Elasticsearch, ready: str):
    readers = {
        Kind.RECORDS: (documents.record_of, full_record()),
        Kind.EVENTS: (documents.record_of, full_record()),
        Kind.PLANS: (documents.plan_of, full_plan()),
        Kind.VERDICTS: (documents.verdict_of, full_verdict()),
    }
    for kind, (read, original) in readers.items():
        index = prefixed(WRITTEN[kind], ready)
        client.index(index=index, id="1", document=WRITTEN[kind].source)
        assert read(client.get(index=index, id="1")["_source"]) == original


@pytest.mark.elasticsearch
@pytest.mark.parametrize(
    "changes",
    [
        {"dropped": {}, "failed": {}, "metrics": {}, "versions": {}, "consumed": (), "error": None, "output": 10},
        {"input": HUGE, "output": HUGE, "dropped": {}, "failed": {}, "digest_in": None},
        {"failed": {LONG: 4}, "error": TaskFailure(error_class=LONG, message=LONG)},
        {"versions": {"model": LONG}},
    ],
    ids=["empty", "2**62", "long error", "long version"],
)
def test_extreme_records_are_taken_and_read_back(client: Elasticsearch, ready: str, changes: dict[str, Any]):
    record = full_record(**changes)
    document = documents.record_document(ready, record, METRICS)
    client.index(index=document.index, id=document.id, document=document.source)
    assert documents.record_of(client.get(index=document.index, id=document.id)["_source"]) == record


@pytest.mark.elasticsearch
@pytest.mark.parametrize("kind", Kind)
def test_a_field_nobody_declared_is_refused_by_every_index(elastic_url: str, ready: str, kind: Kind):
    index = prefixed(WRITTEN[kind], ready)
    places: list[dict[str, Any]] = [{"surprise": 1}, {"metrics": {"surprise": 1}}, {"consumed": [{"surprise": 1}]}]
    for place in places:
        status, answer = call(elastic_url, "POST", f"/{index}/_doc", WRITTEN[kind].source | place)
        assert status == 400, (kind, place)
        assert answer["error"]["type"] == "strict_dynamic_mapping_exception"


@pytest.mark.elasticsearch
def test_a_number_written_as_text_is_refused(elastic_url: str, ready: str):
    source = WRITTEN[Kind.RECORDS].source
    for wrong in ({"input": "10"}, {"input": 1.5}, {"input": 2**63}, {"date": "20261101"}):
        status, answer = call(elastic_url, "POST", f"/{ready}-records-2026.11/_doc", source | wrong)
        assert (status, answer.get("error", {}).get("type")) == (400, "document_parsing_exception"), wrong


def test_each_kind_with_many_documents_has_an_index_a_month():
    assert {kind for kind in Kind if pattern_of("p", kind) != index_of("p", kind, DAY)} == set(MONTHLY)


def test_the_metrics_of_the_demo_s_topology_are_mapped(repository: Path):
    topology = Topology.load(repository / "pipeline" / "default.yaml")
    names = {name for task in topology.tasks.values() for name in task.metrics}
    assert len(names) > 10
    mapping = index_mapping(Kind.EVENTS, names)
    growing = {f"metrics.{name}" for name in names if name.endswith("*")}
    fields = {f"metrics.{name}" for name in mapping["properties"]["metrics"]["properties"]}
    rules = {next(iter(rule.values()))["path_match"] for rule in mapping.get("dynamic_templates", [])} - {"metrics.*"}
    assert (fields | rules, rules) == ({f"metrics.{name}" for name in names}, growing)
