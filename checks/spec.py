"""Read checks.yaml: a list of checks, each validated by the model of its kind, all resolved against the task graph."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date as Date
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal, NamedTuple, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from checks.kinds.base import Check, Instance
from checks.kinds.complete import Complete
from checks.kinds.conservation import Conservation
from checks.kinds.digest import DigestCheck
from checks.kinds.drift import Drift
from checks.kinds.expr import Expr
from checks.kinds.fresh import Fresh
from checks.kinds.plan_diff import PlanDiff
from checks.kinds.ratio import Ratio
from checks.kinds.reconcile import Reconcile
from checks.kinds.version import VersionCheck
from reporting.errors import ConfigError, nearest
from reporting.topology import Topology
from reporting.yaml_source import Location, YamlSource, load_yaml

AnyCheck = Annotated[
    Complete | Conservation | DigestCheck | Drift | Expr | Fresh | PlanDiff | Ratio | Reconcile | VersionCheck,
    Field(discriminator="kind"),
]
"""One entry of the file: `kind` says which model reads it."""

KINDS: Mapping[str, type[Check]] = MappingProxyType(
    {get_args(model.model_fields["kind"].annotation)[0]: model for model in get_args(get_args(AnyCheck)[0])}
)
"""Every kind by its name in the file."""


def _day(value: Any) -> Any:
    """Refuse numbers and times, which pydantic would take for days."""
    if isinstance(value, datetime) or not isinstance(value, Date | str):
        raise ValueError(f"expected a day as in 2026-11-01, got {value!r}")  # noqa: TRY004 - pydantic hears ValueError
    return value


class ChecksFile(BaseModel):
    """All of checks.yaml."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Literal[1] = 1
    """Of this file's format."""
    holidays: tuple[Annotated[Date, BeforeValidator(_day)], ...] = ()
    """Days that no baseline holds: what they bring says nothing about other days."""
    checks: Annotated[tuple[AnyCheck, ...], Field(min_length=1)]
    """What is judged, in this order."""


class _Outline(BaseModel):
    """The file without the insides of its checks: faults in a union would not say in which line they are."""

    model_config = ConfigDict(extra="forbid")

    version: Literal[1] = 1
    holidays: tuple[Annotated[Date, BeforeValidator(_day)], ...] = ()
    checks: Annotated[tuple[dict[str, Any], ...], Field(min_length=1)]


class LeftOut(NamedTuple):
    """A check that comes with funnelgate, and does not fit the task graph."""

    check: str
    why: str
    """With file and line."""


@dataclass(frozen=True)
class LoadedChecks:
    """A file of checks that fits its task graph.

    Attributes:
        file: What it says.
        path: Where it lies.
        config_hash: 16 hexadecimal digits over the file's meaning and the task graph; comments and order of keys do
            not change it.
        source: Its lines.
        left_out: Checks that are not judged, see `load_checks`.
    """

    file: ChecksFile
    path: Path
    config_hash: str
    source: YamlSource
    left_out: tuple[LeftOut, ...] = ()

    def where(self, check_id: str) -> str:
        """Return `file:line` of a check; of an unknown one the file."""
        ids = [entry.get("id") for entry in self.source.data["checks"]]
        return self.source.where(("checks", ids.index(check_id))) if check_id in ids else str(self.path)

    def check(self, check_id: str) -> Check:
        """Return a check.

        Raises:
            ConfigError: there is none of this id; the nearest is named. Or it is left out, and why.
        """
        for check in self.file.checks:
            if check.id == check_id:
                return check
        for name, why in self.left_out:
            if name == check_id:
                raise ConfigError(f"check {name} is left out, since the task graph lacks what it is about: {why}")
        raise ConfigError.unknown_name("check", check_id, [check.id for check in self.file.checks], str(self.path))

    def only(self, check_ids: Collection[str]) -> LoadedChecks:
        """Return the file with some of its checks, in the file's order, under the same hash; () leaves all.

        Raises:
            ConfigError: there is no check of an id; the nearest is named.
        """
        if not check_ids:
            return self
        wanted = {self.check(check_id).id for check_id in check_ids}
        kept = tuple(check for check in self.file.checks if check.id in wanted)
        return replace(self, file=self.file.model_copy(update={"checks": kept}), left_out=())

    def instances(self, topology: Topology) -> list[Instance]:
        """Return everything the file expands to, in its order."""
        return [instance for check in self.file.checks for instance in check.expand(topology)]


def load_checks(path: Path, topology: Topology, *, shipped: bool = False) -> LoadedChecks:
    """Read and validate a file of checks.

    Args:
        path: The file.
        topology: The task graph that it is about.
        shipped: It is the one that comes with funnelgate, and the graph may be older: a check `on` one task that the
            graph lacks, or whose metrics it does not declare, is left out. In a file of one's own that is a fault.

    Raises:
        ConfigError: one line per fault, each with file:line, key and the nearest valid name.
    """
    source = _read(path)
    outline = source.to_model(_Outline)
    parts = _parts(source, len(outline.checks))
    checks, faults, left_out = [], [], []
    for part in parts:
        try:
            checks.append(_check(part, topology))
        except ConfigError as error:
            if shipped and "on" in part.data:
                left_out.append(LeftOut(part.data["id"], str(error)))
            else:
                faults.append(str(error))
    faults += _repeated(source, outline)
    if faults:
        raise ConfigError("\n".join(faults))
    file = ChecksFile.model_construct(version=outline.version, holidays=outline.holidays, checks=tuple(checks))
    return LoadedChecks(file, path, config_hash(file, topology), source, tuple(left_out))


def config_hash(file: ChecksFile, topology: Topology) -> str:
    """Return 16 hexadecimal digits of the SHA-256 of both as canonical JSON."""
    meant = [model.model_dump(mode="json", by_alias=True) for model in (file, topology)]
    return hashlib.sha256(json.dumps(meant, sort_keys=True, ensure_ascii=False).encode()).hexdigest()[:16]


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of a file of checks, for editors."""
    schema = ChecksFile.model_json_schema(by_alias=True)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "funnelgate checks.yaml"}


def _read(path: Path) -> YamlSource:
    source = load_yaml(path)
    written: dict[Location, list[str]] = {}
    for location in source.lines:
        if location and isinstance(location[-1], str):
            written.setdefault(location[:-1], []).append(location[-1])
    return source._replace(data=_with_text_keys(source.data, (), written))


def _with_text_keys(data: Any, at: Location, written: Mapping[Location, Sequence[str]]) -> Any:
    """Return the values with the keys that YAML 1.1 takes for true or false, `on` above all, as they were written."""
    if isinstance(data, list):
        return [_with_text_keys(item, (*at, number), written) for number, item in enumerate(data)]
    if not isinstance(data, dict):
        return data
    found = {}
    for key, value in data.items():
        name = key
        if isinstance(key, bool):
            name = next((text for text in written.get(at, ()) if text.lower() in _BOOLEANS[key]), _BOOLEANS[key][0])
        found[name] = _with_text_keys(value, (*at, name), written)
    return found


_BOOLEANS = {True: ("on", "yes", "true"), False: ("off", "no", "false")}


def _parts(source: YamlSource, count: int) -> Iterator[YamlSource]:
    """Yield each entry as a source of its own, with its lines."""
    lines: list[dict[Location, int]] = [{} for _ in range(count)]
    for location, line in source.lines.items():
        if len(location) >= 2 and location[0] == "checks" and isinstance(location[1], int):
            lines[location[1]][location[2:]] = line
    for number, known in enumerate(lines):
        yield YamlSource(source.path, source.data["checks"][number], known)


def _check(part: YamlSource, topology: Topology) -> Check:
    """Validate one entry, and resolve its names.

    Raises:
        ConfigError: with the entry's file and the line of what is wrong.
    """
    kind = part.data.get("kind")
    if not isinstance(kind, str) or kind not in KINDS:
        found = "a check has no kind" if kind is None else f"unknown kind {str(kind)!r}"
        raise ConfigError(f"{part.where(('kind',))}: {found}; {nearest(str(kind), KINDS)}")
    try:
        check = part.to_model(KINDS[kind])
        check.expand(topology)
        check.needs(topology)
    except ConfigError as error:
        text = str(error)
        if text.startswith(f"{part.path}:"):
            raise
        raise ConfigError(f"{_place_of(part, text)}: {text}") from None
    return check


def _place_of(part: YamlSource, text: str) -> str:
    """Return `file:line` of the value that an error quotes; of the entry where it quotes none."""
    for quoted in re.findall(r"'([^']+)'", text):
        for location, line in part.lines.items():
            if _holds(part.data, location, quoted):
                return f"{part.path}:{line}"
    return part.where(())


def _holds(data: Any, location: Location, quoted: str) -> bool:
    for step in location:
        inside = data if isinstance(data, dict) else dict(enumerate(data)) if isinstance(data, list) else {}
        if step not in inside:  # a key that is no text stands as another in the lines
            return False
        data = inside[step]
    return isinstance(data, str) and quoted in data and location != ("id",)


def _repeated(source: YamlSource, outline: _Outline) -> list[str]:
    first: dict[str, int] = {}
    faults = []
    for number, entry in enumerate(outline.checks):
        name = entry.get("id")
        if isinstance(name, str) and first.setdefault(name, number) != number:
            place = source.where(("checks", number, "id"))
            there = source.where(("checks", first[name], "id"))
            faults.append(f"{place}: id {name!r} is already used at {there}; it is what a check's history is found by")
    return faults
