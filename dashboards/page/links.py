"""Names of files and anchors, and addresses of Kibana. Pure."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from datetime import date as Date
from urllib.parse import quote, urlsplit, urlunsplit

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
    return "/".join(quote(part, safe="") for part in parts)


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


def up(path: str) -> str:
    """Return what leads from a page back to the folder of all pages: "" or "../"."""
    return "../" * path.count("/")


def kibana_home(url: str | None, space: str) -> str | None:
    """Return the address of a space of Kibana, without a user or password; None where there is no Kibana.

    Example:
        >>> kibana_home("https://me:geheim@kibana.example:5601/", "search")
        'https://kibana.example:5601/s/search'
    """
    if url is None:
        return None
    parts = urlsplit(url)
    base = urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path.rstrip("/"), "", ""))
    return base if space == "default" else f"{base}/s/{quote(space, safe='')}"


def kibana_address(base: str, board: str, first: Date, last: Date, filters: Mapping[str, str]) -> str:
    """Return a dashboard of Kibana with its time range and filters set.

    Args:
        base: `https://kibana.example/s/search`.
        board: Id of the dashboard: `funnelgate-funnel`.
        first: The first day.
        last: The last day, included.
        filters: Field to value; a value of "all" does not restrict.
    """
    range_ = f"time:(from:'{first.isoformat()}T00:00:00.000Z',to:'{last.isoformat()}T23:59:59.999Z')"
    chosen = [f"(query:(match_phrase:({name}:{_rison(value)})))" for name, value in filters.items() if value != "all"]
    state = f"_g=({quote(range_, safe=':(),')})"
    if chosen:
        state += f"&_a=(filters:!({quote(','.join(chosen), safe=':(),!')}))"
    return f"{base.rstrip('/')}/app/dashboards#/view/{quote(board, safe='')}?{state}"


def _rison(text: str) -> str:
    """Return a string as Kibana's addresses write it: quoted, with `!` before `!` and quotes."""
    return "'" + text.replace("!", "!!").replace("'", "!'") + "'"
