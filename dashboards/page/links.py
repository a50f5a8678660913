"""Names of files and anchors, and addresses of Kibana. Pure."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from datetime import date as Date
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote, urlsplit, urlunsplit

from dashboards.kibana.esql import board_id

_PLAIN = re.compile(r"[a-z0-9][a-z0-9._-]{0,59}")
_EPISODE = re.compile(r"[0-9a-f]{10}-\d{8}T\d{12}Z")
_ANYTHING_ELSE = re.compile(r"[^a-z0-9_-]+")


def slug(text: str) -> str:
    """Return a name for a file: as it is where every system takes it, else with a hash, so that no two are one.

    Example:
        >>> slug("daily-20261101"), slug("Täglich 1")
        ('daily-20261101', 't-glich-1-68948ae2ed')
    """
    if _PLAIN.fullmatch(text) and ".." not in text:
        return text
    plain = _ANYTHING_ELSE.sub("-", text.lower()).strip("-")[:40]
    return f"{plain}-{hashlib.sha256(text.encode()).hexdigest()[:10]}".lstrip("-")


def anchor(*parts: str) -> str:
    """Return an id within a page, which is also the fragment that leads to it; a key part never holds a slash.

    Example:
        >>> anchor("dedup", "all", "a b")
        'dedup/all/a%20b'
    """
    return "/".join([_quoted(part) for part in parts])


@lru_cache(maxsize=1 << 14)  # 9,000 leaves on one page share some hundred names
def _quoted(part: str) -> str:
    return quote(part, safe="")


def day_path(day: Date) -> str:
    """Return the page of a day."""
    return f"day/{day.isoformat()}.html"


def leaves_path(day: Date) -> str:
    """Return the page with every record of a day."""
    return f"day/{day.isoformat()}-leaves.html"


def days_path(first: Date, last: Date) -> str:
    """Return the page of some days as one funnel."""
    return f"days/{first.isoformat()}_{last.isoformat()}.html"


def plan_path(planid: str) -> str:
    """Return the page of one plan over all its days."""
    return f"plans/{slug(planid)}.html"


def compare_path(one: str, other: str) -> str:
    """Return the page of plan against plan."""
    return f"plans/{slug(one)}..{slug(other)}.html"


def incident_path(episode: str) -> str:
    """Return the page of an incident: named as it is, so that whoever tells of one can write its address.

    Example:
        >>> incident_path("9241236bc8-20261123T164225802371Z")
        'incident/9241236bc8-20261123T164225802371Z.html'
    """
    return f"incident/{episode if _EPISODE.fullmatch(episode) else slug(episode)}.html"


def verdict_path(verdict_id: str) -> str:
    """Return where a verdict's rules stand on the page of the gate."""
    return f"gate.html#{anchor(verdict_id)}"


def address_from(beside: Path | None, home: str | None, folder: Path, path: str) -> str | None:
    """Return what leads to a page from a file that is none of the pages; None where that is not known.

    Args:
        beside: Folder of that file; None: it is not on this machine's disk.
        home: Address of all pages, or their folder.
        folder: What `home` is relative to where it is a folder.
        path: Of the page: `gate.html#verdict-1`.

    Example:
        >>> address_from(Path("/shop/lake/evaluate"), "page", Path("/shop"), "gate.html")
        '../../page/gate.html'
        >>> address_from(None, "https://pages.example/", Path("/shop"), "gate.html")
        'https://pages.example/gate.html'
    """
    if home is None:
        return None
    if "://" in home:
        return f"{home.rstrip('/')}/{path}"
    if beside is None:
        return None
    return f"{quote(Path(os.path.relpath((folder / home).resolve(), beside.resolve())).as_posix())}/{path}"


def up(path: str) -> str:
    """Return what leads from a page back to the folder of all pages: "" or "../"."""
    return "../" * path.count("/")


class Kibana(NamedTuple):
    """Where this project's dashboards are."""

    home: str
    """Address of the space: `https://kibana.example/s/search`."""
    prefix: str
    """`elastic.prefix`: what the ids of the dashboards begin with."""


def kibana_of(url: str | None, space: str, prefix: str) -> Kibana | None:
    """Return where the dashboards of a prefix are, without a user or password; None where there is no Kibana.

    Example:
        >>> kibana_of("https://me:geheim@kibana.example:5601/", "search", "shop").home
        'https://kibana.example:5601/s/search'
    """
    if url is None:
        return None
    parts = urlsplit(url)
    base = urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path.rstrip("/"), "", ""))
    return Kibana(base if space == "default" else f"{base}/s/{quote(space, safe='')}", prefix)


def kibana_address(kibana: Kibana, board: str, first: Date, last: Date, filters: Mapping[str, str]) -> str:
    """Return a dashboard of Kibana with its time range and filters set.

    Args:
        kibana: Where it is.
        board: Its short name in the catalogue: `funnel`.
        first: The first day.
        last: The last day, included.
        filters: Field to value; a value of "all" does not restrict.
    """
    range_ = f"time:(from:'{first.isoformat()}T00:00:00.000Z',to:'{last.isoformat()}T23:59:59.999Z')"
    chosen = [f"(query:(match_phrase:({name}:{_rison(value)})))" for name, value in filters.items() if value != "all"]
    state = f"_g=({quote(range_, safe=':(),')})"
    if chosen:
        state += f"&_a=(filters:!({quote(','.join(chosen), safe=':(),!')}))"
    return f"{kibana.home}/app/dashboards#/view/{quote(board_id(kibana.prefix, board), safe='')}?{state}"


def _rison(text: str) -> str:
    """Return a string as Kibana's addresses write it: quoted, with `!` before `!` and quotes."""
    return "'" + text.replace("!", "!!").replace("'", "!'") + "'"
