"""Index templates and key roles as they go to the cluster: the JSON beside this file, prefix and metrics put in.

Pure: nothing here talks to a cluster. `templates/<kind>.json` is the component template with a kind's fields,
`templates/<kind>.index.json` the index template that composes it with `templates/settings.json`.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from importlib.resources import files
from typing import Any, Literal

from reporting.elastic.names import Kind, pattern_of

SCHEMA = 2
"""Of the mappings, kept in `_meta` of each index: raised with each new field, so that shippers ask for `records setup`.

2: `versions_by` of records, which ES|QL can read; `versions` are of the type `flattened`, which it cannot.
"""

Json = dict[str, Any]

RoleName = Literal["setup", "shipper", "reader"]
ROLES: tuple[RoleName, ...] = ("setup", "shipper", "reader")

LIVE_SETTINGS = (
    "index.auto_expand_replicas",
    "index.mapping.total_fields.ignore_dynamic_beyond_limit",
    "index.refresh_interval",
)
"""Settings of the templates that can be changed on an index that exists."""

_INHERITS = {Kind.EVENTS: (Kind.RECORDS,)}
_METRIC = {"type": "double"}
_NO_NUMBER = {"type": "ip"}


def component_templates(prefix: str, metric_names: Collection[str]) -> dict[str, Json]:
    """Return the component templates: name to body of `PUT /_component_template/<name>`.

    Args:
        prefix: of the names of templates and indices.
        metric_names: metrics that get a field of their own; others are kept in a record's `exact` only. A name that
            ends in `*` gives one to each metric that begins so, when it is first written.
    """
    named = {f"{prefix}-settings": _load("templates", "settings", prefix)}
    for kind in Kind:
        body = _load("templates", kind.value, prefix)
        mappings = body["template"]["mappings"]
        body["template"]["mappings"] = _with_metrics(mappings, metric_names) | {"_meta": _meta(metric_names)}
        named[f"{prefix}-mappings-{kind.value}"] = body
    return named


def index_templates(prefix: str) -> dict[str, Json]:
    """Return the index templates: name to body of `PUT /_index_template/<name>`."""
    return {f"{prefix}-{kind.value}": _load("templates", f"{kind.value}.index", prefix) for kind in Kind}


def index_mapping(kind: Kind, metric_names: Collection[str]) -> Json:
    """Return the mapping an index of a kind has, composed as the cluster composes it."""
    components = component_templates("x", metric_names)
    mapping: Json = {"properties": {}}
    for one in (*_INHERITS.get(kind, ()), kind):
        part = components[f"x-mappings-{one.value}"]["template"]["mappings"]
        mapping = mapping | part | {"properties": mapping["properties"] | part["properties"]}
    return mapping


def live_settings(custom: Json | None = None) -> dict[str, str]:
    """Return the settings an existing index should have.

    Args:
        custom: the operator's component template `<prefix>-custom`, whose settings go before ours.
    """
    wanted = _load("templates", "settings", "x")["template"]["settings"]
    flat = flat_settings(wanted) | flat_settings((custom or {}).get("template", {}).get("settings", {}))
    return {name: flat[name] for name in LIVE_SETTINGS}


def flat_settings(settings: Json, path: str = "") -> dict[str, str]:
    """Return settings by their full names, values as text: how the cluster gives them back.

    Example:
        >>> flat_settings({"index": {"sort": {"field": ["date"]}, "number_of_shards": 1}})
        {'index.sort.field': '["date"]', 'index.number_of_shards': '1'}
    """
    flat: dict[str, str] = {}
    for name, value in settings.items():
        full = f"{path}{name}" if path or name.startswith("index") else f"index.{name}"
        if isinstance(value, dict):
            flat |= flat_settings(value, f"{full}.")
        else:
            flat[full] = value if isinstance(value, str) else json.dumps(value)
    return flat


def role(name: RoleName, prefix: str) -> Json:
    """Return what a key may do: one entry of `role_descriptors` of `POST /_security/api_key`.

    Index names are spelled out by kind, so that a key for `shop` does not open the indices of `shop-test`.
    """
    return _load("roles", name, prefix)


def patterns(prefix: str) -> tuple[str, ...]:
    """Return the patterns that all indices of a prefix match."""
    return tuple(pattern_of(prefix, kind) for kind in Kind)


def _meta(metric_names: Collection[str]) -> Json:
    kinds = sorted(kind.value for kind in Kind)
    return {"funnelgate_schema": SCHEMA, "kinds": kinds, "metrics": sorted(set(metric_names))}


def _with_metrics(mappings: Json, metric_names: Collection[str]) -> Json:
    if "metrics" not in mappings["properties"]:
        return mappings
    names = sorted(set(metric_names))
    generated = {name: dict(_METRIC) for name in names if not name.endswith("*")}
    metrics = mappings["properties"]["metrics"] | {"properties": generated}
    rules = [_rule(name, _METRIC) for name in names if name.endswith("*")]
    if rules:
        # `strict` would refuse these names too, so the last rule is what refuses any other one: no number fits it.
        metrics |= {"dynamic": "true"}
        mappings = mappings | {"dynamic_templates": [*rules, _rule("*", _NO_NUMBER)]}
    return mappings | {"properties": mappings["properties"] | {"metrics": metrics}}


def _rule(name: str, mapping: Json) -> Json:
    return {f"metrics_{name}": {"path_match": f"metrics.{name}", "mapping": dict(mapping)}}


def _load(folder: str, name: str, prefix: str) -> Json:
    text = files("reporting.elastic").joinpath(folder, f"{name}.json").read_text(encoding="utf-8")
    loaded: Json = json.loads(text.replace("<prefix>", prefix))
    return loaded
