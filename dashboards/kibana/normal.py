"""Whether a dashboard that Kibana gives back is the one that was sent: it fills in defaults and puts sections last.

All that was sent must be there, value for value; what is there besides is a default. Panels are found by their id, in
the container they stand in, so that order does not matter; lists within a panel are compared place by place.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple


class Difference(NamedTuple):
    """One place where the two differ."""

    panel: str
    """Its id; "" for the dashboard itself."""
    path: str
    wanted: Any
    found: Any

    def __str__(self) -> str:
        return f"{self.panel or 'the dashboard'}: {self.path or 'panel'}: {_shown(self.wanted)}, {_shown(self.found)}"


class _Missing:
    def __repr__(self) -> str:
        return "(nothing)"


MISSING = _Missing()


def differences(sent: Mapping[str, Any], stored: Mapping[str, Any]) -> list[Difference]:
    """Compare the body of a PUT with the `data` of a GET.

    Returns:
        The differences, those of the dashboard first; none where Kibana holds what was sent.
    """
    wanted, found = _parts(sent), _parts(stored)
    differ = [Difference(part.panel, part.container, MISSING, "a panel") for part in found if part not in wanted]
    for part, value in wanted.items():
        if part not in found:
            differ.append(Difference(part.panel, part.container, "a panel", MISSING))
        else:
            differ += (Difference(part.panel, *rest) for rest in _leaves(value, found[part], ""))
    return sorted(differ, key=lambda one: (one.panel, one.path))


class _Part(NamedTuple):
    container: str
    """`controls`, or `section <id>`, or "" on the dashboard itself."""
    panel: str


def _parts(data: Mapping[str, Any]) -> dict[_Part, Any]:
    """Cut a dashboard into itself, its sections, its panels and its controls."""
    envelope = {name: value for name, value in data.items() if name not in ("panels", "pinned_panels")}
    parts: dict[_Part, Any] = {_Part("", ""): envelope}
    for one in data.get("pinned_panels", ()):
        parts[_Part("controls", str(one.get("id")))] = one
    for one in data.get("panels", ()):
        parts[_Part("", str(one.get("id")))] = {name: value for name, value in one.items() if name != "panels"}
        for inner in one.get("panels", ()):
            parts[_Part(f"section {one.get('id')}", str(inner.get("id")))] = inner
    return parts


def _leaves(wanted: Any, found: Any, path: str) -> Iterator[tuple[str, Any, Any]]:
    """Yield (path, wanted, found) of every leaf that was sent and is not there."""
    if isinstance(wanted, Mapping) and isinstance(found, Mapping):
        for name, value in wanted.items():
            yield from _leaves(value, found.get(name, MISSING), f"{path}.{name}" if path else name)
    elif _is_list(wanted) and _is_list(found):
        if len(wanted) != len(found):
            yield f"{path} (length)", len(wanted), len(found)
        for number, (one, other) in enumerate(zip(wanted, found, strict=False)):
            yield from _leaves(one, other, f"{path}[{number}]")
    elif wanted != found or isinstance(wanted, bool) != isinstance(found, bool):
        yield path, wanted, found


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
