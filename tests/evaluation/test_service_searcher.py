"""A retrieval service over HTTP as a system: whatever it does is counted, and nothing is raised or dropped."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest

from evaluation.answers import Answers, Status
from evaluation.evalset import EvalSet
from evaluation.measure import measure
from evaluation.searchers import open_system
from evaluation.searchers.service import GIVE_UP_AFTER, MAX_ANSWER_BYTES, ask_service
from evaluation.set_files import write_set
from evaluation.system import View
from reporting.errors import DataError, UsageError
from tests.checks.sinks.receiver import Receiver, Reply, Request, closed_port
from tests.evaluation.picture_set import picture_of, picture_set, sha256


def told(*results: Any) -> Reply:
    return Reply(body=json.dumps({"results": list(results)}).encode())


def right(request: Request) -> Reply:
    """Answer with the query's own product, then another one."""
    number = int(request.body.split()[1])
    return told({"image_id": f"i{number}", "distance": 0.1}, {"image_id": "i99", "distance": 0.9})


def spoiled(bad: Reply, at: int = 1) -> Callable[[Request], Reply]:
    """Answer every query well but one."""
    return lambda request: bad if request.headers["x-query-id"] == f"q{at:02d}" else right(request)


def served(evalset: EvalSet, answer: Callable[[Request], Reply] | Reply, **options: Any) -> Answers:
    with Receiver(answer) as service:
        return ask_service(f"{service.url}/search", evalset, **options).views[View.SERVED]


def lists(found: Answers) -> dict[str, list[str]]:
    return {
        query: [str(name) for name in found.image_id[found.row == row]] for row, query in enumerate(found.query_ids)
    }


def test_each_query_is_posted_once_and_its_hits_come_back(tmp_path: Path) -> None:
    evalset = picture_set(tmp_path, 3)
    with Receiver(right) as service:
        system = ask_service(f"{service.url}/search?shop=a%20b", evalset, deepest=5)
    assert [request.body for request in service.requests] == [b"query 0", b"query 1", b"query 2"]
    assert [request.headers["x-query-id"] for request in service.requests] == ["q00", "q01", "q02"]
    assert parse_qs(urlsplit(service.requests[0].path).query) == {"shop": ["a b"], "k": ["50"]}
    found = system.views[View.SERVED]
    assert lists(found) == {"q00": ["i0", "i99"], "q01": ["i1", "i99"], "q02": ["i2", "i99"]}
    assert found.distance.tolist() == [0.1, 0.9] * 3
    assert found.seconds is not None
    assert (found.seconds > 0).all()
    measured = measure(system, evalset)
    assert measured.values["hit@1"].tolist() == [1, 1, 1]
    assert {fact.metric for fact in system.facts} == {"latency_p50_ms", "latency_p95_ms", "latency_p99_ms"}


def test_a_score_ranks_as_its_negative_distance_and_a_group_is_kept(tmp_path: Path) -> None:
    evalset = picture_set(tmp_path, 1)
    by_score = told({"image_id": "far", "score": 0.25, "group": "g7"}, {"image_id": 12, "score": 4, "group": 8})
    found = served(evalset, by_score)
    assert found.distance.tolist() == [-0.25, -4.0]
    assert found.image_id.tolist() == ["far", "12"]
    assert found.group_id is not None
    assert found.group_id.tolist() == ["g7", "8"]


def test_a_picture_is_named_by_its_hash_and_an_unknown_one_is_an_orphan(tmp_path: Path) -> None:
    evalset = picture_set(tmp_path, 2, again=1)
    foreign = sha256(b"foreign")
    answer = told(
        {"picture": sha256(picture_of(0)), "distance": 0.0},
        {"picture": foreign, "distance": 0.5},
        {"picture": foreign, "image_id": "i1", "distance": 0.6},
    )
    with Receiver(answer) as service:
        system = ask_service(service.url, evalset)
    found = system.views[View.SERVED]
    assert lists(found)["q00"] == ["i0", foreign, "i1"]
    assert found.stands_for == {"j0": "i0"}  # equal bytes listed twice
    assert measure(system, evalset).values["hit@1"].tolist() == [1, 0]


BAD = {
    "500": (Reply(status=500, body=b"oops"), "HTTP 500"),
    "404": (Reply(status=404), "HTTP 404"),
    "redirect": (Reply(status=302, headers={"Location": "/elsewhere"}), "HTTP 302"),
    "no JSON": (Reply(body=b"<html>"), "is no JSON"),
    "no UTF-8": (Reply(body=b'{"results": ["\xff\xfe"]}'), "is no JSON"),
    "brackets": (Reply(body=b"[" * 200_000), "is no JSON"),
    "empty": (Reply(), "is no JSON"),
    "a list": (Reply(body=b"[]"), "no list `results`"),
    "results are a mapping": (Reply(body=b'{"results": {}}'), "no list `results`"),
    "a hit is a text": (told("i1"), "results[0] is no mapping"),
    "no name": (told({"distance": 0.1}), "neither image_id nor picture"),
    "a name is a list": (told({"image_id": ["i1"], "distance": 0.1}), "image_id is ['i1']"),
    "a name is true": (told({"image_id": True, "distance": 0.1}), "image_id is True"),
    "half a letter": (Reply(body=b'{"results": [{"image_id": "\\ud800", "distance": 1}]}'), "image_id is"),
    "a group is a mapping": (told({"image_id": "i1", "distance": 0.1, "group": {}}), "group is {}"),
    "no figure": (told({"image_id": "i1", "distance": 0.1}, {"image_id": "i2"}), "results[1]: has no finite distance"),
    "a text": (told({"image_id": "i1", "distance": "0.1"}), "has no finite distance or score"),
    "true": (told({"image_id": "i1", "distance": True}), "has no finite distance or score"),
    "NaN": (told({"image_id": "i1", "distance": float("nan")}), "has no finite distance or score"),
    "infinite": (told({"image_id": "i1", "score": float("-inf")}), "has no finite distance or score"),
    "beyond float": (told({"image_id": "i1", "distance": 10**400}), "has no finite distance or score"),
    "NaN beside a score": (told({"image_id": "i1", "distance": float("nan"), "score": 1}), "has no finite distance"),
    "cut": (Reply(manner="cut"), "RemoteProtocolError"),
    "not gzip": (Reply(body=b"plain", headers={"Content-Encoding": "gzip"}), "DecodingError"),
    "too long": (Reply(body=b" " * (MAX_ANSWER_BYTES + 1)), "longer than 8 MiB"),
}


@pytest.fixture(scope="module")
def answered(tmp_path_factory: pytest.TempPathFactory) -> Answers:
    """Each bad answer between two right ones: query 0 is answered well, query 1 by the first of `BAD`, and so on."""
    replies = [reply for reply, _ in BAD.values()]

    def answer(request: Request) -> Reply:
        number = int(request.body.split()[1])
        return replies[number // 2] if number % 2 else right(request)

    return served(picture_set(tmp_path_factory.mktemp("bad"), 2 * len(BAD) + 1), answer)


@pytest.mark.parametrize("name", BAD)
def test_a_bad_answer_is_an_error_of_its_query_alone(answered: Answers, name: str) -> None:
    number = 2 * list(BAD).index(name) + 1
    around = slice(number - 1, number + 2)
    assert answered.statuses[around] == (Status.ANSWERED, Status.ERROR, Status.ANSWERED)
    hits = list(lists(answered).values())
    assert hits[around] == [[f"i{number - 1}", "i99"], [], [f"i{number + 1}", "i99"]]
    assert BAD[name][1] in answered.errors[f"q{number:02d}"]
    assert len(answered.errors) == len(BAD)


@pytest.mark.parametrize("manner", ["silent", "dripping head", "hanging body"])
def test_who_does_not_end_in_time_has_timed_out_however_he_does_it(tmp_path: Path, manner: str) -> None:
    found = served(picture_set(tmp_path, 3), spoiled(Reply(manner=manner)), timeout_seconds=0.15)
    assert found.statuses == (Status.ANSWERED, Status.TIMEOUT, Status.ANSWERED)
    assert found.errors == {"q01": "no answer within 0.15 s"}
    assert found.seconds is not None
    assert np.isnan(found.seconds).tolist() == [False, True, False]


def test_a_service_that_dies_half_way_leaves_the_rest_missing_and_every_query_counts(tmp_path: Path) -> None:
    evalset = picture_set(tmp_path, 30)
    service = Receiver()

    def dies(request: Request) -> Reply:
        if request.headers["x-query-id"] == "q04":
            service._listener.shutdown()
            service._listener.socket.close()  # this one is still answered
        return right(request)

    service.answer = dies
    with service:
        system = ask_service(service.url, evalset)
    found = system.views[View.SERVED]
    assert found.statuses == (Status.ANSWERED,) * 5 + (Status.ERROR,) * GIVE_UP_AFTER + (Status.MISSING,) * 15
    assert all("no connection" in message for message in found.errors.values())
    measured = measure(system, evalset)
    assert len(measured.query_ids) == 30
    assert measured.values["answer_rate"].sum() == 5
    assert measured.values["hit@1"].mean() == pytest.approx(5 / 30)


def test_a_service_that_never_answered_is_an_error_and_no_score_of_0(tmp_path: Path) -> None:
    evalset = picture_set(tmp_path, 3)
    system = ask_service(f"http://127.0.0.1:{closed_port()}/", evalset)
    with pytest.raises(DataError, match=r"nothing answered: none of 3 queries.*3 error; q00: .*no connection"):
        measure(system, evalset)


def test_a_kept_connection_that_the_service_closed_meanwhile_costs_no_query(tmp_path: Path) -> None:
    """Services close idle connections when they like, and may do so just when the next query is sent."""
    evalset = picture_set(tmp_path, 3)
    listener = socket.create_server(("127.0.0.1", 0))
    seen = []

    def serve() -> None:
        for answers in (2, 1):
            connection, _ = listener.accept()
            with connection, connection.makefile("rb") as stream:
                for _ in range(answers):
                    seen.append(_read(stream))
                    body = told({"image_id": "i0", "distance": 0.1}).body
                    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
                if answers == 2:
                    _read(stream)  # the third query is taken from the line, and lost

    with listener, ThreadPoolExecutor(1) as pool:
        serving = pool.submit(serve)
        found = ask_service(f"http://127.0.0.1:{listener.getsockname()[1]}/", evalset).views[View.SERVED]
        serving.result()
    assert found.statuses == (Status.ANSWERED,) * 3
    assert seen == [b"query 0", b"query 1", b"query 2"]


def _read(stream: BinaryIO) -> bytes:
    length = 0
    while line := stream.readline().strip():
        name, _, value = line.partition(b": ")
        length = int(value) if name.lower() == b"content-length" else length
    return stream.read(length)


def test_an_empty_list_is_an_answer(tmp_path: Path) -> None:
    found = served(picture_set(tmp_path, 1), told())
    assert (found.statuses, found.errors, found.row.size) == ((Status.ANSWERED,), {}, 0)


def test_a_query_id_beyond_ascii_reaches_the_service_percent_encoded(tmp_path: Path) -> None:
    whole = picture_set(tmp_path, 1)
    named = whole.queries[0].model_copy(update={"query_id": "caf\u00e9/1.jpg%20?"})
    evalset = EvalSet(whole.name, whole.sha256, (named,), whole.labels, whole.catalog, whole.gallery, whole.root)
    with Receiver(right) as service:
        found = ask_service(service.url, evalset).views[View.SERVED]
    assert found.statuses == (Status.ANSWERED,)
    assert service.requests[0].headers["x-query-id"] == "caf%C3%A9/1.jpg%20?"


def test_a_password_in_the_address_is_sent_and_shown_nowhere(tmp_path: Path) -> None:
    with Receiver(right) as service:
        system = ask_service(service.url.replace("//", "//ana:secret@"), picture_set(tmp_path / "a", 1))
    assert service.requests[0].headers["authorization"].startswith("Basic ")
    assert system.name == f"{service.url}"
    dead = ask_service(f"http://ana:secret@127.0.0.1:{closed_port()}/", picture_set(tmp_path / "b", 1))
    assert "secret" not in dead.name + "".join(dead.views[View.SERVED].errors.values())


@pytest.mark.parametrize("address", ["http://", "http:search", "http://host:port/", "https://[::1/"])
def test_what_is_no_address_is_refused_before_anything_is_asked(tmp_path: Path, address: str) -> None:
    with pytest.raises(UsageError, match=r"is no address|names no host"):
        open_system(address, picture_set(tmp_path, 1))


def test_a_set_without_pictures_is_refused(tmp_path: Path) -> None:
    whole = picture_set(tmp_path, 1)
    bare = EvalSet(whole.name, whole.sha256, whole.queries, whole.labels, whole.catalog, whole.gallery)
    with pytest.raises(UsageError, match=r"has no pictures, so http://127.0.0.1:9/ cannot be asked"):
        open_system("http://127.0.0.1:9/", bare)


def test_a_picture_that_changed_since_it_was_labelled_is_refused(tmp_path: Path) -> None:
    evalset = picture_set(tmp_path, 2)
    (tmp_path / "q01.jpg").write_bytes(b"another")
    with Receiver(right) as service, pytest.raises(DataError, match=r"q01: .*has changed since the set was built"):
        ask_service(service.url, evalset)


GATE = """\
schema: gate/1
rules:
  - {id: answered, kind: floor, metric: answer_rate, min: 0.9, bound: point}
  - {id: hit1, kind: floor, metric: hit@1, min: 0.8, bound: point}
"""


@pytest.mark.parametrize(("failing", "code", "status"), [(0, 0, "PASS"), (3, 1, "FAIL")])
def test_gate_asks_a_service_end_to_end(tmp_path: Path, main_in: Any, failing: int, code: int, status: str) -> None:
    folder = write_set(picture_set(tmp_path / "pictures", 10), tmp_path / "sets")
    (tmp_path / "gate.yaml").write_text(GATE)

    def answer(request: Request) -> Reply:
        return Reply(status=500) if int(request.body.split()[1]) < failing else right(request)

    with Receiver(answer) as service:
        asked = ("--searcher", f"{service.url}/search", "--config", "gate.yaml", "--out", "out", "--json")
        ended = main_in(tmp_path, "gate", "--set", str(folder), *asked)
    assert ended.code == code, ended.err
    said = json.loads(ended.out)
    assert said["verdict"] == status
    assert said["candidate"] == f"{service.url}/search"
    assert (said["counts"]["queries"], said["counts"]["error"]) == (10, failing)
    assert [rule["value"] for rule in said["rules"]] == [(10 - failing) / 10] * 2
    assert sorted(path.name for path in (tmp_path / "out").iterdir() if path.is_file()) == [
        "junit.xml", "per_query.parquet", "report.html", "summary.md", "verdict.json"
    ]  # fmt: skip
