"""report.html: one file that needs no other and no network, for whoever must decide what a verdict means.

The page is bounded whatever the set: so many changed queries, so many bytes of pictures, and it says what it leaves
out. Names come from data: the template escapes everything, and the page forbids itself scripts and connections.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from evaluation.outputs.comparison import SliceRow, regressions
from evaluation.outputs.flips import Flip
from evaluation.outputs.hit_lists import ShownHit, first_relevant, nearest_places, row_of, shown_groups, shown_pictures
from evaluation.outputs.plots import HEIGHT, WIDTH, Bar, Ruler, bars, curve_plot, ruler
from evaluation.outputs.summary import blocking_first, reproduce_command
from evaluation.outputs.thumbnails import Album
from evaluation.slices import relevant_groups
from evaluation.system import Fact, View
from evaluation.verdict import RuleResult

if TYPE_CHECKING:
    from evaluation.measured import Measured
    from evaluation.outputs.folder import Evidence, ReadPicture

MOST_LOST: Final = 60
MOST_GAINED: Final = 12
OPEN: Final = 6
"""Changed queries that are unfolded when the page opens."""
EXPECTED: Final = 3
"""Pictures shown of what should have been found."""
_FACTS, _WORST, _RULES, _AT_ONCE = 80, 20, 400, 12
TEMPLATES = Path(__file__).parents[1] / "templates"

BADGES: Final[Mapping[str, str]] = {
    "product": "other product",
    "same_style": "distractor",
    "noise": "noise",
    "refused": "refused by a labeller",
    "not_live": "not live",
    "orphan": "not in the catalogue",
}
"""What a hit without relevance is, in words."""


class Cell(NamedTuple):
    """A hit on the page: what it is, its thumbnail's number, its badge, and whether it is of another category."""

    hit: ShownHit
    picture: int | None
    badge: str
    is_relevant: bool
    is_foreign: bool


class Side(NamedTuple):
    """One system's list: role, name, metrics in words, hits, and the first relevant one beyond them."""

    role: str
    name: str
    said: str
    cells: list[Cell]
    beyond: Cell | None
    unanswered: str


class Changed(NamedTuple):
    """One changed query: its texts, what it should find, and the lists side by side."""

    query_id: str
    category: str
    slices: str
    picture: int | None
    expected: list[tuple[str, int | None]]
    groups: str
    said: str
    why: str
    because: str
    unit: str
    sides: list[Side]


class Sliced(NamedTuple):
    """The plot of one metric."""

    metric: str
    scale: Ruler
    rows: list[tuple[SliceRow, list[Bar]]]


def page_bytes(evidence: Evidence, picture: ReadPicture | None = None) -> bytes:
    """Return the page; equal arguments give equal bytes under one version of Pillow.

    Args:
        evidence: What it tells.
        picture: How to read a picture; None: from the set's root, and without one the page shows names only.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = environment.get_template("gate_report.html.j2").render(**_context(evidence, picture))
    return page.encode("utf-8", "backslashreplace")


def _context(evidence: Evidence, picture: ReadPicture | None) -> dict[str, Any]:
    verdict, flips = evidence.verdict, evidence.flips
    album = Album(picture or _from_root(evidence))
    drawer = _Drawer(evidence, album)
    lost = drawer.changed(flips.lost[:MOST_LOST])
    gained = drawer.changed(flips.gained[:MOST_GAINED]) if evidence.main else []
    rules = blocking_first(verdict.rules)
    sliced = [Sliced(name, (scale := ruler(rows)), [(row, bars(row, scale)) for row in rows]) for name, rows in
              evidence.slices.items() if rows]  # fmt: skip
    return {
        "verdict": verdict,
        "rules": rules[:_RULES],
        "rules_left_out": max(0, len(rules) - _RULES),
        "unfolded_rules": _unfolded(rules),
        "folded": _counted(rules[_unfolded(rules) : _RULES]),
        "worst_shown": _WORST,
        "main": evidence.main,
        "k": evidence.k,
        "flips": flips,
        "hit_flips": sum(flip.is_hit_flip for flip in flips.lost),
        "lost": lost,
        "gained": gained,
        "open": OPEN,
        "album": album,
        "sliced": sliced,
        "worse": regressions([row for one in sliced for row, _ in one.rows], 10),
        "confidence": 100 * (1 - 2 * verdict.alpha),
        "plot": curve_plot({"candidate": evidence.candidate, **evidence.baselines}),
        "plot_size": (WIDTH, HEIGHT),
        "facts": _facts(evidence),
        "waived": [rule for rule in verdict.rules if rule.waiver is not None],
        "reproduce": reproduce_command(verdict),
        "page": evidence.page,
    }


def _unfolded(rules: Sequence[RuleResult]) -> int:
    """Return how many results are shown at once: what fails, and a few more; a set may have hundreds of slices."""
    failing = sum(rule.status in ("error", "fail") for rule in rules)
    return min(max(failing, _AT_ONCE), 3 * _AT_ONCE)


def _counted(rules: Sequence[RuleResult]) -> str:
    counts = Counter("only warns" if rule.warns else rule.status.replace("_", " ") for rule in rules)
    return ", ".join(f"{count} {status}" for status, count in counts.items())


def _from_root(evidence: Evidence) -> ReadPicture | None:
    """Return how to read a picture from the set's root; None where there is none."""
    from evaluation.set_pictures import read_picture

    return None if evidence.evalset.root is None else partial(read_picture, evidence.evalset)


def _facts(evidence: Evidence) -> list[tuple[str, str, Fact, dict[str, float]]]:
    """Return the candidate's facts of the whole system and every bad one of a slice, with the baselines' values."""
    facts = evidence.candidate.facts
    shown = [fact for fact in facts if fact.slice == "all" or fact.examples]
    told = []
    for fact in sorted(shown, key=lambda one: (one.metric, one.slice != "all", one.slice))[:_FACTS]:
        others = {role: measured.fact(fact.metric, fact.slice) for role, measured in evidence.baselines.items()}
        values = {role: other.value for role, other in others.items() if other is not None}
        told.append((fact.metric, fact.slice, fact, values))
    return told


class _Drawer:
    """Lays out changed queries."""

    def __init__(self, evidence: Evidence, album: Album):
        self._evidence = evidence
        self._album = album
        self._relevant = relevant_groups(evidence.evalset)
        systems: dict[str, Measured] = (
            {} if evidence.main is None else {evidence.main: evidence.baselines[evidence.main]}
        )
        self._systems = {**systems, "candidate": evidence.candidate}

    def changed(self, flips: Sequence[Flip]) -> list[Changed]:
        """Lay out some queries; their places in the lists are found for these rows only."""
        return [self._query(flip) for flip in flips]

    def _query(self, flip: Flip) -> Changed:
        evidence = self._evidence
        query = evidence.evalset.queries[flip.row]
        groups = sorted(self._relevant[query.query_id])
        measured = evidence.candidate
        names = [name for name, mask in measured.slices.items() if mask[flip.row] and name != "all"]
        return Changed(
            query_id=query.query_id,
            category=query.category,
            slices=", ".join(name for name in names if not name.startswith("category=")),
            picture=self._album.number(query),
            expected=[
                (image.image_id, self._album.number(image)) for image in evidence.catalogue.pictures(groups, EXPECTED)
            ],
            groups=", ".join(groups[:5]) + (f" and {len(groups) - 5} more" if len(groups) > 5 else ""),
            said=_values(flip, evidence.k),
            why="" if flip.loss is None else flip.loss.why.value,
            because="" if flip.loss is None else flip.loss.said,
            unit="products" if flip.is_hit_flip else "pictures",
            sides=[self._side(role, one, flip) for role, one in self._systems.items()],
        )

    def _side(self, role: str, measured: Measured, flip: Flip) -> Side:
        evidence, row = self._evidence, flip.row
        query, served = evidence.evalset.queries[row], measured.views[View.SERVED]
        most, catalogue = max(10, min(evidence.k, 20)), evidence.catalogue
        if flip.is_hit_flip:
            one = row_of(served, row)
            places = nearest_places(one, most, catalogue)[0]
            hits = shown_groups(one, 0, places, query.query_id, catalogue)
            relevant = any(hit.grade > 0 for hit in hits)
            beyond = None if relevant else first_relevant(served, row, most, query.query_id, catalogue)
        else:
            hits, beyond = shown_pictures(served, row, most, query.query_id, catalogue), None
        values = {name: measured.values[name][row] for name in (f"hit@{evidence.k}", f"recall@{evidence.k}")
                  if name in measured.values}  # fmt: skip
        loss = evidence.readers[role].of(row) if not served.answered[row] else None
        return Side(
            role=role,
            name=measured.system,
            said=", ".join(f"{name} {value:.3g}" for name, value in values.items()),
            cells=[self._cell(hit, query.category) for hit in hits],
            beyond=None if beyond is None else self._cell(beyond, query.category),
            unanswered="" if loss is None else loss.said,
        )

    def _cell(self, hit: ShownHit, category: str) -> Cell:
        image = self._evidence.catalogue.image_of.get(hit.image_id)
        badge = {2: "same item", 1: "variant"}.get(hit.grade, BADGES[hit.kind])
        is_foreign = hit.category not in ("", category)
        return Cell(hit, self._album.number(image), badge, hit.grade > 0, is_foreign)


def _values(flip: Flip, k: int) -> str:
    """Say what changed, in words."""

    def pair(before: float | None, now: float) -> str:
        return f"{now:.3g}" if before is None else f"{before:.3g} → {now:.3g}"

    said = [f"hit@{k} {pair(*flip.hit)}"]
    return ", ".join(said + ([] if flip.recall is None else [f"recall@{k} {pair(*flip.recall)}"]))
