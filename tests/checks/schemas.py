"""What commands print, against the schemas of docs: valid, and with exactly the keys that are told of there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

SCHEMAS = Path(__file__).parents[2] / "docs" / "schemas"


def follow(name: str, document: Any) -> None:
    """Assert that a document follows a schema, and that no object of it has a key that the schema does not name."""
    schema = json.loads((SCHEMAS / f"{name}.json").read_text(encoding="utf-8"))
    Draft202012Validator(schema).validate(document)
    assert unnamed(schema, document) == set()


def unnamed(schema: dict[str, Any], document: Any, where: str = "") -> set[str]:
    """Return the places of the keys that a schema does not name, among those objects whose keys it names at all."""
    found: set[str] = set()
    if isinstance(document, list) and "items" in schema:
        found = found.union(*(unnamed(schema["items"], one, f"{where}[]") for one in document))
    elif isinstance(document, dict) and "properties" in schema:
        found = {f"{where}.{key}" for key in document if key not in schema["properties"]}
        for key, inner in schema["properties"].items():
            found |= unnamed(inner, document.get(key), f"{where}.{key}")
    return found
