"""What the checks said and the incidents they opened, delivered to a real server: once, and as they are last."""

from __future__ import annotations

from datetime import timedelta

import pytest

from checks.incidents import Incident
from checks.result import Result
from reporting.elastic.names import Kind, evaluation_id, index_of
from reporting.outbox import Fate, Topic
from reporting.stores import open_store
from reporting.testing import DAY
from tests.reporting.elastic.delivery import evaluation_entry, fates, incident_entry
from tests.reporting.elastic.said import full_incident, full_result, keep, say

D, S, P = Fate.DELIVERED, Fate.STALE, Fate.POISON


@pytest.mark.elasticsearch
def test_an_evaluation_is_written_once_and_the_latest_incident_stays(cluster, client):
    sink = cluster.sink(client)
    result, one = full_result(), full_incident()
    said = evaluation_entry("run-1", result)
    assert fates(sink.deliver([said, said, incident_entry(one)])) == [D, D, D]
    assert fates(sink.deliver([incident_entry(full_incident(revision=2)), said])) == [S, D]
    index = index_of(cluster.prefix, Kind.EVALUATIONS, DAY)
    found = cluster.get(index, evaluation_id("run-1", result.id, result.instance))
    assert Result.model_validate(found["exact"]) == result
    assert (found["status"], found["task"], found["subinstance"]) == ("fail", "listing", "0003")
    incident = cluster.get(index_of(cluster.prefix, Kind.INCIDENTS), one.episode)
    assert Incident.model_validate(incident["exact"]) == one
    assert (incident["version"], incident["planids"], incident["impact_count"]) == (3, ["p-1", "p-2"], 1)


@pytest.mark.elasticsearch
def test_what_is_no_result_and_no_incident_is_put_aside(cluster, client):
    wrong = [
        evaluation_entry("run-1", full_result())._replace(body='{"run_id": "run-1"}'),
        evaluation_entry("run-1", full_result())._replace(body='{"run_id": "r", "result": {"key": 1}}'),
        incident_entry(full_incident())._replace(body="{}"),
        incident_entry(full_incident())._replace(body="[]"),
    ]
    assert fates(cluster.sink(client).deliver(wrong)) == [P] * 4


def interrupted(store):
    with store.begin() as work:
        say(work, "run-0", full_result())
        raise KeyboardInterrupt


def test_a_result_and_an_incident_are_queued_in_the_transaction_of_their_rows(tmp_path):
    later = full_incident(DAY + timedelta(days=1))
    with open_store(f"sqlite:///{tmp_path}/store.db") as store:
        with pytest.raises(KeyboardInterrupt):
            interrupted(store)
        with store.begin() as work:
            say(work, "run-1", full_result())
            keep(work, later)
        with store.read() as connection:
            rows = connection.exec_driver_sql("SELECT topic, document_id, version FROM outbox ORDER BY seq").all()
    mine = evaluation_id("run-1", full_result().id, full_result().instance)
    assert rows == [(Topic.EVALUATION, mine, 0), (Topic.INCIDENT, later.episode, 3)]
