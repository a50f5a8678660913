"""The books of `books.py` in a SQL store, and on a real Elasticsearch that has ES|QL."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from elasticsearch import Elasticsearch

from dashboards.kibana.catalogue import build_all
from dashboards.kibana.columns import asked
from dashboards.kibana.engine import run
from dashboards.kibana.esql import Names, board_id
from reporting.elastic.check_documents import evaluation_document, incident_document
from reporting.elastic.client import connect
from reporting.elastic.documents import (
    Document,
    expected_document,
    plan_document,
    record_document,
    verdict_document,
)
from reporting.elastic.effective import EffectiveKeeper
from reporting.elastic.mappings import component_templates, index_templates
from reporting.settings import ElasticSettings
from reporting.stores import open_store
from reporting.stores.base import RecordQuery
from reporting.stores.sql import SqlStore
from tests.dashboards.kibana import books
from tests.servers.rest import call, remove_everything

Rows = list[dict[str, Any]]
LOGS_TEMPLATE = Path(__file__).parents[3] / "elk" / "logs-template.json"


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SqlStore]:
    """The truth."""
    with open_store(f"sqlite:///{tmp_path_factory.mktemp('boards') / 'books.db'}") as opened:
        books.fill(opened)
        yield opened


@dataclass
class Shown:
    """Runs what a panel asks, as Kibana does."""

    names: Names
    client: Elasticsearch

    def rows(self, board: str, panel: str, where: dict[str, list[str]] | None = None) -> Rows:
        """Return a panel's rows over all days, by column.

        Args:
            board: its short name in the catalogue.
            panel: its id.
            where: what controls are set to, by field.
        """
        wanted = board_id(self.names.prefix, board)
        dashboard = next(built.dashboard for built in build_all(self.names) if built.id == wanted)
        query = next(one.query for one in asked(dashboard) if one.panel == panel)
        chosen = None if where is None else {"bool": {"filter": [{"terms": {f: v}} for f, v in where.items()]}}
        # Begins in the middle of the first day: a day that the range begins within belongs to it.
        first = books.moment(books.DAYS[0], 10)
        last = books.moment(books.DAYS[-1], 23)
        answer = run(self.client, query, first, last, where=chosen)
        columns = [column["name"] for column in answer["columns"]]
        return [dict(zip(columns, values, strict=True)) for values in answer["values"]]


@pytest.fixture(scope="session")
def shown(store: SqlStore, elastic8_url: str) -> Iterator[Shown]:
    """The same books as documents, under the mappings of `reporting`, beside some lines of a log."""
    prefix = f"boards-{secrets.token_hex(4)}"
    templates = {
        "_component_template": component_templates(prefix, books.METRICS),
        "_index_template": {**index_templates(prefix), f"{prefix}-logs": json.loads(LOGS_TEMPLATE.read_text())},
    }
    for kind, bodies in templates.items():
        for template, body in bodies.items():
            assert call(elastic8_url, "PUT", f"/{kind}/{template}", body)[0] == 200
    _write(elastic8_url, [*_documents(store, prefix), *_log_lines()])
    with closing(connect(ElasticSettings(url=elastic8_url, timeout_seconds=60))) as client:
        yield Shown(Names(prefix, books.TOPOLOGY), client)
    remove_everything(elastic8_url, prefix)
    remove_everything(elastic8_url, "funnelgate-logs")


def _documents(store: SqlStore, prefix: str) -> Iterator[Document]:
    for record in store.records(RecordQuery()):
        yield record_document(prefix, record, books.METRICS)
    for plan in store.plans():
        yield plan_document(prefix, plan, 1)
        for leaf in store.expected(plan.planid):
            yield expected_document(prefix, plan.planid, leaf)
    keeper = EffectiveKeeper(store, prefix)
    for day in books.DAYS:
        yield from keeper.day_lines(day)
    for verdict in books.verdicts():
        yield verdict_document(prefix, verdict, 1)
    for incident in books.incidents():
        yield incident_document(prefix, incident.model_dump(mode="json"), 3)
        yield evaluation_document(prefix, "run-1", incident.result.model_dump(mode="json"))


def _log_lines() -> Iterator[Document]:
    for number, level in enumerate(("info", "info", "error")):
        moment = books.moment(books.REPAIRED, 8) + timedelta(minutes=number)
        key = {
            "task": "hash",
            "date": str(books.REPAIRED),
            "category": "all",
            "subinstance": "0001",
            "planid": "repair",
        }
        line = {
            "@timestamp": moment.isoformat(),
            "message": f"line {number}",
            "log": {"level": level},
            "funnelgate": key,
        }
        failed = {"error": {"type": "ValueError", "message": "no"}} if level == "error" else {}
        yield Document("funnelgate-logs-2026.10", f"line-{number}", None, line | failed)


def _write(url: str, documents: list[Document]) -> None:
    lines = [
        json.dumps(line)
        for document in documents
        for line in ({"index": {"_index": document.index, "_id": document.id}}, document.source)
    ]
    status, answer = call(url, "POST", "/_bulk?refresh=true", "\n".join(lines) + "\n")
    assert (status, answer["errors"]) == (200, False), answer
