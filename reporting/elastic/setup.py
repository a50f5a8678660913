"""`funnelgate records setup`: templates and indices of a prefix, built or upgraded; twice is the same as once.

Everything is read and compared before anything is written. The index of plans comes last: its `_meta` says which schema
and which metrics every index has, and is what shippers and readers go by.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator
from datetime import date as Date
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict

from reporting.elastic.client import cluster_errors, url_of
from reporting.elastic.mappings import (
    SCHEMA,
    Json,
    component_templates,
    flat_settings,
    index_mapping,
    index_templates,
    live_settings,
    patterns,
)
from reporting.elastic.names import MONTHLY, Kind, index_of, pattern_of
from reporting.errors import ConfigError

if TYPE_CHECKING:
    from elasticsearch import Elasticsearch

_CHANGEABLE = {"ignore_above", "dynamic", "dynamic_templates", "date_detection", "_meta"}
"""Parameters of a mapping that can be changed in place (besides new fields)."""

_AGAIN = "delete the index, run `funnelgate records setup`, then `funnelgate records replay` to fill it again"


class SetupReport(BaseModel):
    """What was done, or with `dry_run` would be: names such as `index funnelgate-plans`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dry_run: bool
    metrics: tuple[str, ...]
    """Metrics that have a field: those asked for and those that had one before."""
    created: tuple[str, ...]
    updated: tuple[str, ...]
    unchanged: tuple[str, ...]


class _Found(NamedTuple):
    """What the cluster has of a prefix, each by its name."""

    components: dict[str, Json]
    templates: dict[str, Json]
    indices: dict[str, Json]

    def of(self, prefix: str, kind: Kind) -> dict[str, Json]:
        """Return the indices of a kind, also those reached by an alias."""
        name = re.escape(pattern_of(prefix, kind)).replace(r"\*", ".*")
        return {
            index: body
            for index, body in self.indices.items()
            if any(re.fullmatch(name, one) for one in (index, *body.get("aliases", {})))
        }


class _Step(NamedTuple):
    """One thing of the cluster, and how it becomes what it should be."""

    name: str
    change: Literal["created", "updated", "unchanged"]
    apply: Callable[[], object]


def setup(
    client: Elasticsearch,
    prefix: str,
    metric_names: Collection[str],
    months: Iterable[Date] = (),
    *,
    dry_run: bool = False,
) -> SetupReport:
    """Build or upgrade the templates and indices of a prefix. Needs the role `setup`.

    Existing indices get new fields and our refresh and replica settings; what an operator put into the component
    template `<prefix>-custom` goes before ours. A metric that once had a field keeps it.

    Args:
        client: of the cluster.
        prefix: of all names.
        metric_names: metrics of the topology; each gets a field of type double, see `component_templates`.
        months: any day of each month whose indices should be there; other months are made when first written to.
        dry_run: only report.

    Raises:
        ConfigError: an index has a field of another type, was made without the templates, or by a newer release;
            nothing was written.
        StoreError: the cluster cannot be reached or refuses.
    """
    with cluster_errors(url_of(client)):
        found = _read(client, prefix)
        _refuse_unusable(found, prefix)
        names = sorted(set(metric_names) | _mapped_before(found))
        _refuse_conflicts(found, prefix, names)
        steps = [*_template_steps(client, found, prefix, names), *_index_steps(client, found, prefix, names, months)]
        if not dry_run:
            for step in steps:
                step.apply()
    changes = {kind: tuple(step.name for step in steps if step.change == kind) for kind in ("created", "updated")}
    unchanged = tuple(step.name for step in steps if step.change == "unchanged")
    return SetupReport(dry_run=dry_run, metrics=tuple(names), unchanged=unchanged, **changes)


def require_setup(client: Elasticsearch, prefix: str) -> frozenset[str]:
    """Return the names of the metrics that have a field, of a prefix that is set up for this release.

    Needs `view_index_metadata` on `<prefix>-plans`: every role has it.

    Raises:
        ConfigError: setup has not been run, or was run by an older or newer release.
        StoreError: the cluster cannot be reached.
    """
    index = index_of(prefix, Kind.PLANS)
    where = f"{url_of(client)}: index {index}"
    with cluster_errors(url_of(client)):
        answer = client.indices.get_mapping(index=index, ignore_unavailable=True, allow_no_indices=True)
    if not answer.body:
        raise ConfigError(f"{where} is not there; run `funnelgate records setup`")
    meta = next(iter(answer.body.values()))["mappings"].get("_meta", {})
    schema = meta.get("funnelgate_schema")
    if schema is None:
        raise ConfigError(f"{where} was made without the templates; {_AGAIN}")
    if schema < SCHEMA:
        raise ConfigError(f"{where} has schema {schema}, this release needs {SCHEMA}; run `funnelgate records setup`")
    _refuse_newer(where, schema)
    unknown = ", ".join(sorted({kind.value for kind in Kind} - set(meta.get("kinds", ()))))
    if unknown:  # their first write would make an index without a template, whose fields are guessed
        raise ConfigError(f"{where} was set up before there were {unknown}; run `funnelgate records setup`")
    return frozenset(meta.get("metrics", ()))


def _read(client: Elasticsearch, prefix: str) -> _Found:
    lenient = client.options(ignore_status=404)  # the answer to a pattern that nothing matches
    components = lenient.cluster.get_component_template(name=f"{prefix}-*").get("component_templates", [])
    templates = lenient.indices.get_index_template(name=f"{prefix}-*").get("index_templates", [])
    ours = {*component_templates(prefix, ()), f"{prefix}-custom"}  # the pattern also meets those of `<prefix>-other`
    indices = client.indices.get(
        index=patterns(prefix),
        expand_wildcards=["open", "closed"],
        ignore_unavailable=True,
        allow_no_indices=True,
    )
    return _Found(
        {one["name"]: one["component_template"] for one in components if one["name"] in ours},
        {one["name"]: one["index_template"] for one in templates},
        dict(indices.body),
    )


def _schema(mappings: Json) -> int | None:
    schema: int | None = mappings.get("_meta", {}).get("funnelgate_schema")
    return schema


def _mapped_before(found: _Found) -> set[str]:
    """Return the metrics that have a field already, anywhere."""
    bodies = [body.get("template", {}).get("mappings", {}) for body in found.components.values()]
    bodies += [body["mappings"] for body in found.indices.values()]
    return {name for body in bodies for name in body.get("_meta", {}).get("metrics", ())}


def _refuse_newer(where: str, schema: int | None) -> None:
    if schema is not None and schema > SCHEMA:
        raise ConfigError(f"{where} has schema {schema} of a newer release, not {SCHEMA}; upgrade funnelgate")


def _refuse_unusable(found: _Found, prefix: str) -> None:
    """Refuse indices that are not ours, or not for this release."""
    for kind in Kind:
        for index, body in found.of(prefix, kind).items():
            _refuse_newer(f"index {index}", _schema(body["mappings"]))
            if _schema(body["mappings"]) is None:
                raise ConfigError(
                    f"index {index}: was made by a write before the templates were there, so the types of its fields"
                    f" were guessed; {_AGAIN}"
                )
            mode = body["settings"]["index"].get("mode", "standard")
            if kind is Kind.EFFECTIVE and mode != "lookup":
                raise ConfigError(f"index {index}: index.mode is {mode}, lookup is needed; {_AGAIN}")
    for name, body in found.components.items():
        _refuse_newer(f"component template {name}", _schema(body["template"].get("mappings", {})))


def _refuse_conflicts(found: _Found, prefix: str, metric_names: Collection[str]) -> None:
    problems = [
        f"index {index}: field {path} is {has}, {wants} is needed"
        for kind in Kind
        for index, body in found.of(prefix, kind).items()
        for path, has, wants in _conflicts(body["mappings"], index_mapping(kind, metric_names))
    ]
    if problems:
        raise ConfigError(f"{'; '.join(problems)}; a mapping cannot be changed like this: {_AGAIN}")


def _conflicts(found: Json, wanted: Json, path: str = "") -> Iterator[tuple[str, str, str]]:
    """Yield each field whose mapping would have to change in a way that no index allows: path, found, wanted."""
    fields = found.get("properties", {})
    for name, wants in wanted.get("properties", {}).items():
        full = f"{path}{name}"
        if name in fields:
            if _fixed(fields[name]) != _fixed(wants):
                yield full, _words(fields[name]), _words(wants)
            else:
                yield from _conflicts(fields[name], wants, f"{full}.")


def _fixed(field: Json) -> Json:
    """Return the parameters of a field that can never change."""
    rest = {name: value for name, value in field.items() if name not in _CHANGEABLE | {"properties"}}
    return {"type": "object"} | rest


def _words(field: Json) -> str:
    rest = _fixed(field)
    return " ".join([rest.pop("type"), *(f"{name}={value}" for name, value in sorted(rest.items()))])


def _differs(found: Json, wanted: Json) -> bool:
    """Tell whether a mapping lacks a field or a changeable parameter of the wanted one."""
    if any(found.get(name) != wanted[name] for name in _CHANGEABLE if name in wanted):
        return True
    fields = found.get("properties", {})
    return any(
        name not in fields or _differs(fields[name], wants) for name, wants in wanted.get("properties", {}).items()
    )


def _template_steps(
    client: Elasticsearch, found: _Found, prefix: str, metric_names: Collection[str]
) -> Iterator[_Step]:
    for name, body in component_templates(prefix, metric_names).items():
        put = _put_component(client, name, body)
        yield _step(f"component template {name}", found.components.get(name), body, put)
    for name, body in index_templates(prefix).items():
        yield _step(f"index template {name}", found.templates.get(name), body, _put_template(client, name, body))


def _step(name: str, has: Json | None, wants: Json, put: Callable[[], object]) -> _Step:
    if has is None:
        return _Step(name, "created", put)
    # The cluster adds what we never send (dates of change), so only what we send is compared.
    same = {part: _comparable(has.get(part)) for part in wants} == {part: _comparable(wants[part]) for part in wants}
    return _Step(name, "unchanged", _nothing) if same else _Step(name, "updated", put)


def _comparable(part: Any) -> Any:
    if isinstance(part, dict) and "settings" in part:
        return part | {"settings": flat_settings(part["settings"])}
    return part


def _index_steps(
    client: Elasticsearch, found: _Found, prefix: str, metric_names: Collection[str], months: Iterable[Date]
) -> Iterator[_Step]:
    settings = live_settings(found.components.get(f"{prefix}-custom"))
    firsts = sorted({day.replace(day=1) for day in months})
    for kind in sorted(Kind, key=lambda one: (one is Kind.PLANS, one)):
        mapping = index_mapping(kind, metric_names)
        there = found.of(prefix, kind)
        wanted = [index_of(prefix, kind, day) for day in firsts] if kind in MONTHLY else [index_of(prefix, kind)]
        known = {*there, *(alias for body in there.values() for alias in body.get("aliases", {}))}
        for index, body in there.items():
            yield _upgrade(client, index, body, mapping, settings)
        for index in wanted:
            if index not in known:
                yield _Step(f"index {index}", "created", _create(client, index))


def _upgrade(client: Elasticsearch, index: str, body: Json, mapping: Json, settings: dict[str, str]) -> _Step:
    has = flat_settings(body["settings"])
    late = {name: value for name, value in settings.items() if has.get(name) != value}
    fields = _differs(body["mappings"], mapping)

    def apply() -> None:
        if late:
            client.indices.put_settings(index=index, settings=late)
        if fields:
            client.indices.put_mapping(
                index=index,
                properties=mapping["properties"],
                dynamic=mapping["dynamic"],
                dynamic_templates=mapping.get("dynamic_templates"),
                date_detection=mapping["date_detection"],
                meta=mapping["_meta"],
            )

    return _Step(f"index {index}", "updated" if late or fields else "unchanged", apply)


def _create(client: Elasticsearch, index: str) -> Callable[[], object]:
    def apply() -> None:
        from elasticsearch import BadRequestError

        try:
            client.indices.create(index=index)
        except BadRequestError as error:
            # Another setup, or a first write that met the template, was a moment earlier: the same index.
            if error.message != "resource_already_exists_exception":
                raise

    return apply


def _put_component(client: Elasticsearch, name: str, body: Json) -> Callable[[], object]:
    return lambda: client.cluster.put_component_template(name=name, template=body["template"], meta=body["_meta"])


def _put_template(client: Elasticsearch, name: str, body: Json) -> Callable[[], object]:
    fields = {part: value for part, value in body.items() if part != "_meta"}
    return lambda: client.indices.put_index_template(name=name, meta=body["_meta"], **fields)


def _nothing() -> None:
    """Leave it as it is."""
