"""Read gate.yaml; every fault is told with file:line, key and the nearest valid name. Its JSON Schema for editors."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from evaluation.gate_spec import KINDS, Baseline, Floor, GateSpec, NonInferior, Number, RuleBase, Superior, Waiver
from reporting.errors import ConfigError, nearest
from reporting.yaml_source import Location, YamlSource, load_yaml

_RULES = Path(__file__).parent / "rules"
BUILTIN: Mapping[str, Path] = MappingProxyType(
    {"default": _RULES / "default_gate.yaml", "answers": _RULES / "answers_gate.yaml"}
)
"""Files that come with funnelgate: `default` for an index, `answers` for run files, which have no census."""

_LOWER_IS_BETTER = frozenset({"ann_loss", "label_loss", "routing_loss", "model_loss", "short_list", "tied"})


class _Outline(BaseModel):
    """The file without the insides of its rules: faults in a union would not say in which line they are."""

    model_config = ConfigDict(extra="forbid")

    schema_: Literal["gate/1"] = Field(alias="schema")
    evalset: str | None = Field(default=None, pattern=r"^[^\s@]+@[0-9a-f]{4,64}(\.\.\.|…)?$")
    baselines: dict[Baseline, str] = Field(default_factory=dict)
    alpha: Number = Field(default=0.05, gt=0, lt=0.5)
    inconclusive_warns: tuple[str, ...] = ()
    rules: Annotated[tuple[dict[str, Any], ...], Field(min_length=1)]
    waivers: tuple[Waiver, ...] = ()


def gate_path(name: str) -> Path:
    """Return the file of a name: one of `BUILTIN`, else the path itself.

    Example:
        >>> gate_path("default").name, gate_path("gate.yaml").name
        ('default_gate.yaml', 'gate.yaml')
    """
    return BUILTIN.get(name, Path(name))


def gate_sha256(path: Path) -> str:
    """Return the SHA-256 of the file's bytes, in hex: what `sha256sum` prints.

    Raises:
        ConfigError: it cannot be read.
    """
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}; name a gate file by --config") from error


def read_gate(path: Path) -> GateSpec:
    """Read and validate a gate.

    Raises:
        ConfigError: one line per fault, each with file:line, key and the nearest valid name.
    """
    source = load_yaml(path)
    outline = source.to_model(_Outline)
    rules, faults = [], []
    for part in _parts(source, len(outline.rules)):
        try:
            rules.append(_rule(part))
        except ConfigError as error:
            faults.append(str(error))
    faults += _repeated(source, outline)
    faults += _unknown_waived(source, outline)
    if faults:
        raise ConfigError("\n".join(faults))
    return GateSpec.model_validate({**outline.model_dump(by_alias=True, exclude={"rules"}), "rules": rules})


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of gate.yaml, for editors."""
    schema = GateSpec.model_json_schema(by_alias=True)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "funnelgate gate.yaml"}


def _parts(source: YamlSource, count: int) -> Iterator[YamlSource]:
    """Yield each rule as a source of its own, with its lines."""
    lines: list[dict[Location, int]] = [{} for _ in range(count)]
    for location, line in source.lines.items():
        if len(location) >= 2 and location[0] == "rules" and isinstance(location[1], int):
            lines[location[1]][location[2:]] = line
    for number, known in enumerate(lines):
        yield YamlSource(source.path, source.data["rules"][number], known)


def _rule(part: YamlSource) -> RuleBase:
    """Validate one rule.

    Raises:
        ConfigError: with its file and line.
    """
    kind = part.data.get("kind")
    if not isinstance(kind, str) or kind not in KINDS:
        found = "a rule has no kind" if kind is None else f"unknown kind {str(kind)!r}"
        raise ConfigError(f"{part.where(('kind',))}: {found}; {nearest(str(kind), KINDS)}")
    rule = part.to_model(KINDS[kind])
    _check_metric(part, rule)
    return rule


def _check_metric(part: YamlSource, rule: RuleBase) -> None:
    """Refuse what could never be judged: a metric that no query has, a floor in per cent.

    Raises:
        ConfigError: with file, line and remedy.
    """
    from evaluation.metrics import known_metrics, split_name

    where, kind = part.where(("metric",)), str(getattr(rule, "kind", ""))
    base = rule.metric.partition("@")[0]
    if isinstance(rule, NonInferior | Superior):
        if base in _LOWER_IS_BETTER:
            raise ConfigError(
                f"{where}: {rule.metric} is better the lower it is; a {kind} rule asks for more: use a ceiling"
            )
        try:
            split_name(rule.metric)
        except ConfigError:
            named = [name.replace("@k", "@10") for name in known_metrics() if name.partition("@")[0] != base]
            named += [f"{base}@10"] if f"{base}@k" in known_metrics() else []
            raise ConfigError(
                f"{where}: {rule.metric!r} is no metric of single queries, which a {kind} rule compares; "
                f"{nearest(rule.metric, named)}"
            ) from None
    is_share = is_query_metric(rule.metric) and base not in _LOWER_IS_BETTER
    if isinstance(rule, Floor) and is_share and not 0 <= rule.min <= 1:
        raise ConfigError(
            f"{part.where(('min',))}: {rule.metric} lies between 0 and 1, and can never reach {rule.min:g}; "
            f"write {rule.min / 100:g} for {rule.min:g} %"
        )


def is_query_metric(metric: str) -> bool:
    """Say whether a metric is one of single queries, and not a fact about a whole system.

    Example:
        >>> is_query_metric("hit@7"), is_query_metric("label_loss@10"), is_query_metric("latency_p99_ms")
        (True, True, False)
    """
    from evaluation.metrics import split_name

    try:
        return bool(split_name(metric))
    except ConfigError:
        return False


def _repeated(source: YamlSource, outline: _Outline) -> list[str]:
    first: dict[str, int] = {}
    faults = []
    for number, entry in enumerate(outline.rules):
        name = entry.get("id")
        if isinstance(name, str) and first.setdefault(name, number) != number:
            place, there = (source.where(("rules", which, "id")) for which in (number, first[name]))
            faults.append(f"{place}: id {name!r} is already used at {there}; verdicts and waivers name rules by it")
    return faults


def _unknown_waived(source: YamlSource, outline: _Outline) -> list[str]:
    ids = [entry.get("id") for entry in outline.rules]
    known = [name for name in ids if isinstance(name, str)]
    return [
        f"{source.where(('waivers', number, 'rule'))}: there is no rule {waiver.rule!r} to waive; "
        f"{nearest(waiver.rule, known)}"
        for number, waiver in enumerate(outline.waivers)
        if waiver.rule not in known
    ]
