"""What must hold for docker-compose.elk.yml, as functions from the parsed file to the list of what is wrong."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

from jsonschema import Draft201909Validator

from tests.architecture.source_tree import REPOSITORY

FILE = REPOSITORY / "docker-compose.elk.yml"
ELK = REPOSITORY / "elk"
Compose = dict[str, Any]

_SCHEMA = Path(__file__).with_name("compose_spec.json")
_IMAGE = re.compile(r"docker\.elastic\.co/(elasticsearch/elasticsearch|kibana/kibana|beats/filebeat):(\d+\.\d+\.\d+)")
_VARIABLE = re.compile(r"\$\{(?P<name>\w+)(?P<kind>:[-?])?(?P<rest>[^}]*)\}")
_SECRET_NAME = re.compile(r"(?i)password$|encryptionkey$|secret|token|api_?key")
_LOOPBACK_PORT = re.compile(r"127\.0\.0\.1:(\d+):(\d+)")
_HEAP = re.compile(r"-Xms(\S+) -Xmx(\S+)")
_UNITS = {"k": 2**10, "m": 2**20, "g": 2**30}
_SECURITY = {
    "xpack.security.enabled": "true",
    "xpack.security.http.ssl.enabled": "true",
    "xpack.security.transport.ssl.enabled": "true",
    "xpack.license.self_generated.type": "basic",
    "discovery.type": "single-node",
}


def example() -> dict[str, str]:
    """Return the names and values of elk/.env.example; an empty value is one that `make elk-up` generates."""
    lines = (ELK / ".env.example").read_text(encoding="utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def variables(part: object) -> Iterator[tuple[str, str | None, str]]:
    """Yield (name, `:-` or `:?` or None, what follows it) of every variable that a part of the file takes."""
    if isinstance(part, dict):
        for value in part.values():
            yield from variables(value)
    elif isinstance(part, list):
        for value in part:
            yield from variables(value)
    elif isinstance(part, str):
        for match in _VARIABLE.finditer(part.replace("$$", "")):
            yield match["name"], match["kind"], match["rest"]


def filled(text: object) -> str:
    """Return a text as compose sees it where nothing is set: every variable has its default, or is empty."""
    return _VARIABLE.sub(lambda match: match["rest"] if match["kind"] == ":-" else "", str(text))


def size(text: object) -> int:
    """Return bytes: `2g`, `512m`."""
    match = re.fullmatch(r"(\d+)([kmg])b?", filled(text))
    assert match, f"{text!r} is not a size"
    return int(match[1]) * _UNITS[match[2]]


def lasting(compose: Compose) -> dict[str, Any]:
    """Return the services that stay: those that are restarted."""
    return {name: one for name, one in compose["services"].items() if one.get("restart") != "no"}


def schema(compose: Compose) -> list[str]:
    """The file follows the compose specification."""
    validator = Draft201909Validator(json.loads(_SCHEMA.read_text(encoding="utf-8")))
    return [f"{'.'.join(map(str, error.path))}: {error.message}" for error in validator.iter_errors(compose)]


def images(compose: Compose) -> list[str]:
    """Every image is Elastic's own, pinned to one patch version, of the client's major."""
    found = []
    tags = set()
    for name, service in compose["services"].items():
        match = _IMAGE.fullmatch(service.get("image", ""))
        if match is None:
            found.append(f"{name}: image {service.get('image')} is not pinned to x.y.z of Elastic's registry")
        else:
            tags.add(match[2])
    if len(tags) > 1:
        found.append(f"versions differ: {sorted(tags)}")
    major = version("elasticsearch").split(".")[0]
    return found + [f"version {tag} is not of the client's major {major}" for tag in tags if tag.split(".")[0] != major]


def ports(compose: Compose) -> list[str]:
    """Only Elasticsearch and Kibana are reached from outside, and that from this machine alone."""
    found = []
    for name, service in compose["services"].items():
        found += [f"{name}: network_mode {service['network_mode']}"] if "network_mode" in service else []
        for port in service.get("ports", ()):
            match = _LOOPBACK_PORT.fullmatch(filled(port))
            if match is None or match[2] != {"elasticsearch": "9200", "kibana": "5601"}.get(name):
                found.append(f"{name}: port {port} is not bound to 127.0.0.1")
    return found


def health(compose: Compose) -> list[str]:
    """What stays has a health check with an end, and is restarted; what runs once is waited for."""
    found = []
    for name, service in lasting(compose).items():
        check = service.get("healthcheck", {})
        missing = {"test", "interval", "timeout", "retries"} - set(check)
        if missing or check.get("disable") or check.get("test") == ["NONE"]:
            found.append(f"{name}: no healthcheck, or without {sorted(missing)}")
        if service.get("restart") not in ("unless-stopped", "always", "on-failure"):
            found.append(f"{name}: no restart policy")
    needed = {
        (other, needs["condition"])
        for service in compose["services"].values()
        for other, needs in service.get("depends_on", {}).items()
    }
    found += [
        # Or `docker compose up --wait` takes its end for a failure.
        f"{name}: runs once, and no service waits for its success"
        for name in set(compose["services"]) - set(lasting(compose))
        if (name, "service_completed_successfully") not in needed
    ]
    unknown = {name for name, _ in needed} - set(compose["services"])
    return found + [f"depends_on names {name}, which is no service" for name in unknown]


def memory(compose: Compose) -> list[str]:
    """Every container's memory is bounded, and Java's heap is at most half of Elasticsearch's."""
    found = [f"{name}: no mem_limit" for name, one in compose["services"].items() if "mem_limit" not in one]
    server = compose["services"]["elasticsearch"]
    heap = _HEAP.fullmatch(filled(server["environment"].get("ES_JAVA_OPTS", "")))
    if heap is None or heap[1] != heap[2]:
        found.append("elasticsearch: ES_JAVA_OPTS does not set one heap size, -Xms equal to -Xmx")
    elif "mem_limit" in server and size(heap[1]) * 2 > size(server["mem_limit"]):
        found.append("elasticsearch: the heap is more than half of mem_limit")
    return found


def secrets(compose: Compose) -> list[str]:
    """Passwords and keys come from the environment, and nothing starts without them."""
    return [
        f"{name}: {key} is not a variable that must be set"
        for name, service in compose["services"].items()
        for key, value in service.get("environment", {}).items()
        if _SECRET_NAME.search(key)
        and not ((match := _VARIABLE.fullmatch(str(value))) and match["kind"] == ":?" and match["rest"])
    ]


def settings(compose: Compose) -> list[str]:
    """Every variable is in elk/.env.example: with the same default, or empty where there is none."""
    told = example()
    found = []
    for name, kind, rest in set(variables(compose)):
        if name not in told:
            found.append(f"{name} is not in elk/.env.example")
        elif kind not in (":-", ":?") or (kind == ":?") != (told[name] == ""):
            found.append(f"{name}: has a default, or must be set, but elk/.env.example says otherwise")
        elif kind == ":-" and rest != told[name]:
            found.append(f"{name}: default {rest}, in elk/.env.example {told[name]}")
        if name.startswith("FUNNELGATE_"):
            found.append(f"{name}: funnelgate would refuse it as an unknown setting")
    return found


def mounts(compose: Compose) -> list[str]:
    """Named volumes are declared and used; what is mounted from here exists and is read only."""
    found, used = [], set()
    for name, service in compose["services"].items():
        for mount in service.get("volumes", ()):
            source, target, *mode = filled(mount).split(":")
            if not source.startswith(("/", ".")):
                used.add(source)
                continue
            if mode != ["ro"]:
                found.append(f"{name}: {source} is mounted so that it can be written")
            if "${" not in mount and not (REPOSITORY / source).is_file():
                found.append(f"{name}: {source} does not exist")
            if not target.startswith("/"):
                found.append(f"{name}: {target} is not absolute")
    return found + [f"volume {name} is not declared, or not used" for name in used ^ set(compose.get("volumes", {}))]


def security(compose: Compose) -> list[str]:
    """Elasticsearch runs with users and TLS, Kibana and Filebeat check its certificate, and no one has its keys."""
    services = compose["services"]
    server = services["elasticsearch"]["environment"]
    found = [f"elasticsearch: {key} is not {value}" for key, value in _SECURITY.items() if server.get(key) != value]
    found += [
        f"elasticsearch: no {name}"
        for layer in ("http", "transport")
        for part in ("key", "certificate", "certificate_authorities")
        if (name := f"xpack.security.{layer}.ssl.{part}") not in server
    ]
    kibana = services["kibana"]["environment"]
    if not kibana.get("ELASTICSEARCH_HOSTS", "").startswith("https://"):
        found.append("kibana: does not talk TLS")
    if "ELASTICSEARCH_SSL_CERTIFICATEAUTHORITIES" not in kibana or kibana.get("ELASTICSEARCH_USERNAME") == "elastic":
        found.append("kibana: does not check the certificate, or is the superuser")
    found += [
        f"kibana: no {name}"
        for part in ("SECURITY", "ENCRYPTEDSAVEDOBJECTS", "REPORTING")
        if (name := f"XPACK_{part}_ENCRYPTIONKEY") not in kibana
    ]
    for name, service in services.items():
        held = {mount.split(":")[0] for mount in service.get("volumes", ())}
        if "certificates" in held and name not in ("certificates", "elasticsearch"):
            found.append(f"{name}: mounts the volume with the keys")
        if service.get("privileged") or "/var/run/docker.sock" in held:
            found.append(f"{name}: could take over the machine")
    return found


RULES: tuple[Callable[[Compose], list[str]], ...] = (
    schema,
    images,
    ports,
    health,
    memory,
    secrets,
    settings,
    mounts,
    security,
)
