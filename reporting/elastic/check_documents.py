"""What the checks said and the incidents they opened, as Elasticsearch documents. Pure; nothing here imports a client.

Both come as the JSON that the folder `checks` keeps in SQL, which may leave out what has its default. All of it is kept
in the unindexed object `exact`; beside it lies what people search and count by.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date as Date
from typing import Any

from reporting.elastic.documents import Document
from reporting.elastic.names import Kind, evaluation_id, index_of

_NUMBERS = ("value", "expected", "tolerance", "numerator", "denominator", "history")
_TEXTS = ("reason", "sentence", "repair")
_TIMES = ("opened_at", "updated_at", "fired_at", "closed_at")


def evaluation_document(prefix: str, run_id: str, result: Mapping[str, Any]) -> Document:
    """Return the document of what a check said of one instance in one run: written once.

    Args:
        prefix: of the index names.
        run_id: of the run.
        result: as JSON.

    Raises:
        KeyError, TypeError, ValueError: it is not the JSON of a result.
    """
    source = {
        "run_id": run_id,
        **_subject(result),
        "planid": result["key"].get("planid"),
        "status": result["status"],
        "counts": result.get("counts", True),
        **{name: result.get(name) for name in _NUMBERS},
        **{name: result.get(name, "") for name in _TEXTS},
        "as_of": result["as_of"],
        "config_hash": result["config_hash"],
        "exact": dict(result),
    }
    index = index_of(prefix, Kind.EVALUATIONS, Date.fromisoformat(source["date"]))
    return Document(index, evaluation_id(run_id, result["id"], result["instance"]), None, source)


def incident_document(prefix: str, incident: Mapping[str, Any], revision: int) -> Document:
    """Return the document of an incident as it is now.

    Args:
        prefix: of the index names.
        incident: as JSON.
        revision: rises by one with each change; the greater one stays.

    Raises:
        KeyError, TypeError, ValueError: it is not the JSON of an incident.
    """
    result = _object(_object(incident)["result"])
    source = {
        **{name: incident[name] for name in ("episode", "fingerprint", "state", "severity")},
        **_subject(result),
        "planids": list(incident.get("planids", ())),
        **{name: incident.get(name) for name in ("owner", "cause")},
        "benign": incident.get("benign", False),
        "impact_count": len(incident.get("impact", ())),
        **{name: incident.get(name) for name in _TIMES},
        "note": incident.get("note", ""),
        **{name: result.get(name, "") for name in _TEXTS},
        "version": revision,
        "exact": dict(incident),
    }
    return Document(index_of(prefix, Kind.INCIDENTS), incident["episode"], revision, source)


def _subject(result: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a result is about."""
    key = _object(_object(result)["key"])
    group = _object(key.get("group", {}))
    return {
        "check_id": result["id"],
        "check_kind": result["kind"],
        "instance": result["instance"],
        "task": key["task"],
        "source": key.get("source"),
        "date": key["date"],
        **{dimension: group.get(dimension) for dimension in ("category", "subinstance")},
    }


def _object(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise TypeError(f"expected a JSON object, found {type(value).__name__}")
    return value
