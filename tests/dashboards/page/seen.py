"""A page as a reader sees it: its numbers, links, anchors, pictures and text, read by a parser that wrote none."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass, field
from html.parser import HTMLParser

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_VOID = {"meta", "link", "img", "br", "rect", "circle", "line", "path", "polyline", "hr", "input"}


@dataclass
class Seen:
    """What stands on a page."""

    facts: dict[str, str] = field(default_factory=dict)
    links: list[str] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    images: list[str] = field(default_factory=list)
    tags: list[str] = field(default_factory=list)
    text: str = ""
    unclosed: list[str] = field(default_factory=list)


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.seen = Seen()
        self._open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_startendtag(tag, attrs)
        if tag not in _VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = {name: value or "" for name, value in attrs}
        self.seen.tags.append(tag)
        assert not any(name.startswith("on") for name in named), f"a handler at <{tag}>"
        if "data-fact" in named:
            assert named["data-fact"] not in self.seen.facts, f"{named['data-fact']} stands twice"
            self.seen.facts[named["data-fact"]] = named["data-value"]
        if tag == "a":
            self.seen.links.append(named["href"])
        if tag == "img":
            assert "alt" in named
            self.seen.images.append(named["src"])
        if "id" in named:
            self.seen.ids.append(named["id"])

    def handle_endtag(self, tag: str) -> None:
        if tag in _VOID:
            return
        assert self._open, f"</{tag}> without its beginning"
        assert self._open.pop() == tag, f"</{tag}> closes another"

    def handle_data(self, data: str) -> None:
        if not self._open or self._open[-1] != "style":
            self.seen.text += data


def seen(html: str) -> Seen:
    """Read a page; its tags must be balanced, its ids and facts be unique, and no handler be in it."""
    reader = _Reader()
    reader.feed(html)
    reader.close()
    assert reader._open == []
    assert len(set(reader.seen.ids)) == len(reader.seen.ids)
    reader.seen.text = " ".join(reader.seen.text.split())
    return reader.seen


def pixels(address: str, side: int = 8) -> NDArray[np.float64]:
    """Return a picture that stands in a page, scaled to side x side."""
    kind, data = address.split(",", 1)
    assert kind == "data:image/jpeg;base64"
    image = Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB")
    return np.asarray(image.resize((side, side), Image.Resampling.BOX), np.float64)
