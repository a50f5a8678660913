"""docker-compose.elk.yml and Filebeat's settings, as far as that can be seen where there is no Docker."""

from __future__ import annotations

import copy
import fnmatch
import inspect
import json
import logging
import os
import re
import subprocess
from datetime import date as Date
from typing import Any

import pytest
import yaml

from reporting.key import KEY_PARTS, RunKey
from reporting.logs import EcsFormatter, run_key
from reporting.settings import LogSettings
from tests.architecture import compose_rules
from tests.architecture.compose_rules import ELK, FILE, RULES, example, filled
from tests.architecture.source_tree import REPOSITORY
from tests.servers.node import Node
from tests.servers.rest import call

COMPOSE: dict[str, Any] = yaml.safe_load(FILE.read_text(encoding="utf-8"))
FILEBEAT: dict[str, Any] = yaml.safe_load((ELK / "filebeat.yml").read_text(encoding="utf-8"))
ROLE = json.loads((ELK / "filebeat-role.json").read_text(encoding="utf-8"))
KEY = RunKey(task="embed", date=Date(2026, 10, 11), category="shoes", subinstance="0003", planid="daily-2026-10-11")
INPUT = FILEBEAT["filebeat.inputs"][0]
NDJSON = INPUT["parsers"][0]["ndjson"]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_compose_file_keeps(rule):
    assert rule(COMPOSE) == []


def put(*path: str, value: object):
    """Return a change: the value at a path below `services` becomes another one."""

    def change(compose: dict[str, Any]) -> None:
        *parents, last = path
        part = compose["services"]
        for name in parents:
            part = part[name]
        part[last] = value

    return change


def drop(*path: str):
    """Return a change: what is at a path below `services` is gone."""

    def change(compose: dict[str, Any]) -> None:
        *parents, last = path
        part = compose["services"]
        for name in parents:
            part = part[name]
        del part[last]

    return change


ES, ENV = "elasticsearch", "environment"
MUTATIONS = {
    "unknown key": (put("kibana", "helthcheck", value={}), "schema", "helthcheck"),
    "wrong type": (put(ES, "ports", value="9200"), "schema", "elasticsearch.ports"),
    "no healthcheck": (drop("filebeat", "healthcheck"), "health", "filebeat: no healthcheck"),
    "disabled healthcheck": (put("kibana", "healthcheck", "disable", value=True), "health", "kibana: no healthcheck"),
    "endless healthcheck": (drop(ES, "healthcheck", "retries"), "health", "retries"),
    "no restart policy": (drop("kibana", "restart"), "health", "kibana: no restart policy"),
    "certificates awaited by none": (drop(ES, "depends_on"), "health", "certificates: runs once"),
    "certificates only started": (
        put(ES, "depends_on", "certificates", "condition", value="service_started"),
        "health",
        "certificates: runs once",
    ),
    "waits for nobody": (put("kibana", "depends_on", "logstash", value={"condition": "x"}), "health", "logstash"),
    "all addresses": (put(ES, "ports", value=["0.0.0.0:9200:9200"]), "ports", "not bound"),
    "no address": (put("kibana", "ports", value=["5601:5601"]), "ports", "not bound"),
    "address as a variable": (put("kibana", "ports", value=["${A:-127.0.0.1}:5601:5602"]), "ports", "not bound"),
    "transport port": (put(ES, "ports", value=["127.0.0.1:9300:9300"]), "ports", "not bound"),
    "host network": (put("filebeat", "network_mode", value="host"), "ports", "network_mode"),
    "unpinned": (put("kibana", "image", value="docker.elastic.co/kibana/kibana:latest"), "images", "not pinned"),
    "half pinned": (put("filebeat", "image", value="docker.elastic.co/beats/filebeat:9.5"), "images", "not pinned"),
    "elsewhere": (put("filebeat", "image", value="example.org/beats/filebeat:9.5.3"), "images", "not pinned"),
    "another version": (put("kibana", "image", value="docker.elastic.co/kibana/kibana:9.5.4"), "images", "differ"),
    "another major": (put("kibana", "image", value="docker.elastic.co/kibana/kibana:8.19.21"), "images", "major"),
    "no memory limit": (drop("kibana", "mem_limit"), "memory", "kibana: no mem_limit"),
    "heap too big": (put(ES, "mem_limit", value="1536m"), "memory", "more than half"),
    "no heap": (drop(ES, ENV, "ES_JAVA_OPTS"), "memory", "ES_JAVA_OPTS"),
    "literal password": (put(ES, ENV, "ELASTIC_PASSWORD", value="changeme"), "secrets", "ELASTIC_PASSWORD"),
    "default password": (
        put("kibana", ENV, "ELASTICSEARCH_PASSWORD", value="${KIBANA_PASSWORD:-changeme}"),
        "secrets",
        "ELASTICSEARCH_PASSWORD",
    ),
    "literal key": (put("kibana", ENV, "XPACK_SECURITY_ENCRYPTIONKEY", value="x" * 32), "secrets", "ENCRYPTIONKEY"),
    "unknown variable": (put(ES, "mem_limit", value="${ES_MEM:-2g}"), "settings", "ES_MEM is not"),
    "other default": (put(ES, "mem_limit", value="${ELASTIC_MEMORY:-3g}"), "settings", "default 3g"),
    "no default": (put(ES, "mem_limit", value="${ELASTIC_MEMORY}"), "settings", "ELASTIC_MEMORY"),
    "a setting of ours": (put(ES, "mem_limit", value="${FUNNELGATE_MEMORY:-2g}"), "settings", "would refuse"),
    "missing file": (put("setup", "volumes", value=["./elk/set-up.sh:/x:ro"]), "mounts", "does not exist"),
    "writable logs": (put("filebeat", "volumes", value=["./demo-run/state:/logs"]), "mounts", "can be written"),
    "undeclared volume": (put("kibana", "volumes", value=["data:/data"]), "mounts", "volume data"),
    "no users": (put(ES, ENV, "xpack.security.enabled", value="false"), "security", "xpack.security.enabled"),
    "no TLS": (drop(ES, ENV, "xpack.security.http.ssl.enabled"), "security", "http.ssl.enabled"),
    "no certificate": (drop(ES, ENV, "xpack.security.transport.ssl.certificate"), "security", "transport"),
    "plain kibana": (put("kibana", ENV, "ELASTICSEARCH_HOSTS", value="http://elasticsearch:9200"), "security", "TLS"),
    "superuser kibana": (put("kibana", ENV, "ELASTICSEARCH_USERNAME", value="elastic"), "security", "superuser"),
    "no Kibana key": (drop("kibana", ENV, "XPACK_REPORTING_ENCRYPTIONKEY"), "security", "XPACK_REPORTING"),
    "keys for all": (put("kibana", "volumes", value=["certificates:/certificates:ro"]), "security", "with the keys"),
    "privileged": (put("filebeat", "privileged", value=True), "security", "take over"),
}


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_spoilt_compose_file_is_noticed(name):
    change, rule, words = MUTATIONS[name]
    spoilt = copy.deepcopy(COMPOSE)
    change(spoilt)
    assert spoilt != COMPOSE
    assert any(words in problem for problem in getattr(compose_rules, rule)(spoilt))


def test_the_tests_run_against_the_version_that_the_compose_file_runs():
    tags = {service["image"].rpartition(":")[2] for service in COMPOSE["services"].values()}
    assert tags == {inspect.signature(Node.start).parameters["version"].default}


def test_every_variable_of_the_example_is_used_by_compose():
    used = {name for name, *_ in compose_rules.variables(COMPOSE)} | {"COMPOSE_PROJECT_NAME"}
    assert set(example()) == used


def test_filebeat_reads_where_the_demo_writes_its_log():
    mount = next(mount for mount in COMPOSE["services"]["filebeat"]["volumes"] if "ELK_LOGS" in mount)
    folder, target, _ = filled(mount).split(":")
    demo = re.search(r"^DEMO \?= (\S+)$", (REPOSITORY / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    path = LogSettings().path
    assert demo is not None
    assert path is not None
    assert folder == f"./{demo[1]}/{path.parent}"
    assert any(fnmatch.fnmatch(f"{target}/{path.name}", pattern) for pattern in INPUT["paths"])


def test_filebeat_parses_lines_as_json_objects_with_their_own_time():
    assert (INPUT["type"], INPUT["id"]) == ("filestream", "funnelgate-logs")
    assert list(INPUT["parsers"][0]) == ["ndjson"]
    assert NDJSON == {"target": "", "overwrite_keys": True, "expand_keys": True, "add_error_key": True}


def test_filebeat_writes_plain_monthly_indices_as_a_user_that_can_only_add():
    output = FILEBEAT["output.elasticsearch"]
    assert output["index"] == "funnelgate-logs-%{+yyyy.MM}"
    assert FILEBEAT["setup.ilm.enabled"] is False
    template = json.loads((ELK / "logs-template.json").read_text(encoding="utf-8"))
    assert "data_stream" not in template
    patterns = [*template["index_patterns"], *ROLE["indices"][0]["names"], FILEBEAT["setup.template.pattern"]]
    assert all(fnmatch.fnmatch("funnelgate-logs-2026.10", pattern) for pattern in patterns)
    assert (output["username"], output["password"]) == ("funnelgate_filebeat", "${FILEBEAT_PASSWORD}")
    assert ROLE["cluster"] == ["monitor"]
    assert [part["privileges"] for part in ROLE["indices"]] == [["auto_configure", "create_doc"]]


def test_filebeat_trusts_only_the_authority_that_is_mounted_for_it():
    output = FILEBEAT["output.elasticsearch"]
    assert all(host.startswith("https://elasticsearch:") for host in output["hosts"])
    (file,) = output["ssl.certificate_authorities"]
    assert f"authority:{os.path.dirname(file)}:ro" in COMPOSE["services"]["filebeat"]["volumes"]  # noqa: PTH120
    assert "ssl.verification_mode" not in output  # the default checks the chain and the name


def test_the_first_bytes_of_a_log_name_it():
    """Filebeat knows a file by them: they must be there with the first line, and hold its time."""
    length = INPUT["prospector.scanner.fingerprint"]["length"]
    assert length >= 64  # Filebeat's least
    assert re.match(r'\{"@timestamp": "[^"]+"', line()[:length])


def line(error: bool = False) -> str:
    """Return a line of the log as a task writes it."""
    exception: BaseException | None = ValueError("no such file") if error else None
    information = (type(exception), exception, None) if exception is not None else None
    record = logging.LogRecord("funnelgate.worker", logging.INFO, __file__, 1, "leaf %s", ("done",), information)
    with run_key(KEY):
        return EcsFormatter().format(record)


def nested(flat: dict[str, Any]) -> dict[str, Any]:
    """Return what Filebeat's expand_keys makes of dotted keys."""
    tree: dict[str, Any] = {}
    for name, value in flat.items():
        *parents, last = name.split(".")
        part = tree
        for parent in parents:
            part = part.setdefault(parent, {})
        part[last] = value
    return tree


def mapped(properties: dict[str, Any], prefix: str = "") -> dict[str, str]:
    """Return the dotted names of a mapping's fields and their types."""
    found: dict[str, str] = {}
    for name, field in properties.items():
        inner = field.get("properties")
        found |= mapped(inner, f"{prefix}{name}.") if inner else {f"{prefix}{name}": field["type"]}
    return found


TEMPLATE = json.loads((ELK / "logs-template.json").read_text(encoding="utf-8"))
FIELDS = mapped(TEMPLATE["template"]["mappings"]["properties"])


def test_the_template_maps_what_our_logs_write_and_filebeat_adds():
    written = set(json.loads(line())) | set(json.loads(line(error=True)))
    assert set(FIELDS) == written | {"log.file.path", "log.offset"}


def test_the_run_key_is_mapped_as_in_the_records():
    """So that a query may compare the two; the records' template is the oracle."""
    records = json.loads((REPOSITORY / "reporting/elastic/templates/records.json").read_text(encoding="utf-8"))
    theirs = mapped(records["template"]["mappings"]["properties"])
    assert {part: FIELDS[f"funnelgate.{part}"] for part in KEY_PARTS} == {part: theirs[part] for part in KEY_PARTS}


def test_a_line_s_time_is_in_the_form_that_filebeat_accepts():
    """RFC 3339: what Filebeat cannot read it does not overwrite, and a line would get the time of its reading."""
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", json.loads(line())["@timestamp"])


def document(offset: int = 0) -> dict[str, Any]:
    """Return the document that Filebeat makes of a line."""
    found = nested(json.loads(line(error=True)))
    found["log"] |= {"file": {"path": "/logs/funnelgate.log"}, "offset": offset}
    return found


def test_elasticsearch_finds_a_line_by_its_run_key_and_maps_nothing_by_itself(elastic_url, elastic_prefix):
    """On the real server: the template is accepted, and a line fits it."""
    index = f"{elastic_prefix}-logs-2026.10"
    template = {**TEMPLATE, "index_patterns": [f"{elastic_prefix}-logs-*"]}
    assert call(elastic_url, "PUT", f"/_index_template/{elastic_prefix}-logs", template)[0] == 200
    body = document() | {"unforeseen": {"field": 1}}
    assert call(elastic_url, "PUT", f"/{index}/_create/a?refresh=true", body)[0] == 201
    assert call(elastic_url, "PUT", f"/{index}/_create/a", body)[0] == 409  # a line read twice is kept once
    _, answer = call(elastic_url, "GET", f"/{index}/_mapping")
    assert mapped(answer[index]["mappings"]["properties"]) == FIELDS
    for part, value in zip(KEY_PARTS, KEY.parts(), strict=True):
        query = {"query": {"term": {f"funnelgate.{part}": str(value)}}}
        _, answer = call(elastic_url, "POST", f"/{index}/_search", query)
        assert answer["hits"]["total"]["value"] == 1, part
    _, answer = call(elastic_url, "POST", f"/{index}/_search", {"query": {"term": {"funnelgate.task": "emb"}}})
    assert answer["hits"]["total"]["value"] == 0


def test_docker_compose_itself_accepts_the_file(tmp_path):
    """Where there is a docker compose: its own parser, with every variable set."""
    try:
        subprocess.run(["docker", "compose", "version"], capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no docker compose here")
    env = tmp_path / "env"
    env.write_text("".join(f"{name}={value or 'k' + 'a' * 48}\n" for name, value in example().items()))
    command = ["docker", "compose", "--env-file", str(env), "--file", str(FILE), "config", "--format", "json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=REPOSITORY)
    assert done.returncode == 0, done.stderr
    assert done.stderr == "", "docker compose warns"
    assert set(json.loads(done.stdout)["services"]) == set(COMPOSE["services"])
