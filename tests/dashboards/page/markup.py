"""What stands in a page, read by the standard library's parser."""

from __future__ import annotations

from html.parser import HTMLParser


class Markup(HTMLParser):
    """Tags, ids, links, facts and text of a page."""

    def __init__(self, text: str):
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.facts: dict[str, tuple[str, str]] = {}
        self.text = ""
        self._fact: str | None = None
        self._style = False
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = {name: value or "" for name, value in attrs}
        self.tags.append(tag)
        self.attributes += [(tag, name, value) for name, value in named.items()]
        self._style = tag == "style"
        if "id" in named:
            self.ids.append(named["id"])
        if tag == "a" and "href" in named:
            self.links.append(named["href"])
        if "data-fact" in named:
            self._fact = named["data-fact"]
            assert self._fact not in self.facts, f"{self._fact} stands twice"
            self.facts[self._fact] = (named["data-value"], "")

    def handle_endtag(self, tag: str) -> None:
        self._style = False
        self._fact = None

    def handle_data(self, data: str) -> None:
        if self._style:
            return
        self.text += data
        if self._fact is not None:
            value, shown = self.facts[self._fact]
            self.facts[self._fact] = (value, shown + data)
