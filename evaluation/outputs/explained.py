"""One query of a verdict, as the table of the gate has it: a document for programs, tables for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date as Date
from typing import Any

from rich.markup import escape  # names come from data: a bracket in one is no markup
from rich.table import Table

_SAID = {2: "same item", 1: "variant", 0: ""}


def to_document(row: Mapping[str, Any], about: Mapping[str, Any]) -> dict[str, Any]:
    """Return a query as `funnelgate explain --json` prints it.

    Args:
        row: Of per_query.parquet.
        about: What the table says of itself: set, cut, systems.
    """
    asked = ("query_id", "category", "cluster", "query_type", "source", "captured_day", "path", "slices")
    return {
        "set": about["set_id"],
        "k": about["k"],
        "query": {name: _plain(row[name]) for name in asked},
        "expected": {"groups": row["expected"], "findable": row["findable"]},
        "systems": {role: _system(row, role, name) for role, name in about["systems"].items()},
    }


def _system(row: Mapping[str, Any], role: str, name: str) -> dict[str, Any]:
    told = {column.removeprefix(f"{role}."): value for column, value in row.items() if column.startswith(f"{role}.")}
    named = ("status", "error", "seconds", "rank", "why", "why_said")
    lists = ("top", "images", "image_distances", "image_grades")
    metrics = {column: value for column, value in told.items() if column not in (*named, *lists)}
    top = [{"rank": rank, **_plain(hit)} for rank, hit in enumerate(told["top"] or [], 1)]
    return {"name": name, **{key: told[key] for key in named}, "values": metrics, "top": top}


def _plain(value: Any) -> Any:
    if isinstance(value, Date):
        return value.isoformat()
    return {key: _plain(one) for key, one in value.items()} if isinstance(value, dict) else value


def heading_lines(document: Mapping[str, Any]) -> Iterator[str]:
    """Yield what was asked, what should be found, and how each system did."""
    query, expected, k = document["query"], document["expected"], document["k"]
    about = [query["category"], *(name for name in query["slices"] if "=" in name and not name.startswith("category="))]
    yield f"[bold]{escape(query['query_id'])}[/]  {escape(', '.join(about))}  on {escape(document['set'])}"
    groups = escape(", ".join(expected["groups"])) or "nothing"
    yield f"should find: {groups} ({expected['findable']} pictures findable)"
    for role, system in document["systems"].items():
        values = system["values"]
        shown = [f"{name} {values[name]:.3g}" for name in (f"hit@{k}", f"recall@{k}") if name in values]
        rank = "no relevant product in the list" if system["rank"] is None else f"first relevant rank {system['rank']}"
        yield f"[bold]{role}[/] {escape(system['name'])}: {', '.join([*shown, rank])}"
        if system["why"] is not None:
            yield f"  [red]{system['why'].replace('_', ' ')}[/]: {escape(system['why_said'])}"


def hits_table(document: Mapping[str, Any]) -> Table:
    """Return the systems' first products side by side, the baselines first."""
    systems = document["systems"]
    roles = [*(role for role in systems if role != "candidate"), "candidate"]
    table = Table(box=None, pad_edge=False)
    table.add_column("rank", justify="right")
    for role in roles:
        table.add_column(escape(role), overflow="fold")
    for place in range(max((len(system["top"]) for system in systems.values()), default=0)):
        lists = [systems[role]["top"] for role in roles]
        table.add_row(str(place + 1), *(_hit(hits[place]) if place < len(hits) else "" for hits in lists))
    return table


def _hit(hit: Mapping[str, Any]) -> str:
    notes = [_SAID[hit["grade"]], hit["category"] or "not in the catalogue", hit["day"] or ""]
    text = f"{hit['group']} ({hit['image']}) {hit['distance']:.4g} {', '.join(note for note in notes if note)}"
    return f"[green]{escape(text)}[/]" if hit["grade"] > 0 else escape(text)
