"""Write all five outputs of a verdict, whatever it is: all of them, or none."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date as Date
from functools import cached_property
from pathlib import Path
from typing import Final

from evaluation.catalog import CatalogImage
from evaluation.evalset import EvalSet, Query
from evaluation.measured import Measured
from evaluation.outputs.comparison import SliceRow, compared_slices, headline_cut, headline_metrics
from evaluation.outputs.flips import Flips, flips_of
from evaluation.outputs.hit_lists import Catalogue
from evaluation.verdict import GateVerdict
from evaluation.why_lost import LossReader
from reporting.errors import StoreError
from reporting.segments import sync_folder

FILES: Final = ("junit.xml", "summary.md", "report.html", "per_query.parquet", "verdict.json")
"""In the order in which they appear: where verdict.json is, the others are of the same verdict."""

ReadPicture = Callable[[Query | CatalogImage], bytes]
"""Bytes of a query's or catalogue picture; raises DataError where it cannot be had."""


@dataclass(frozen=True)
class Evidence:
    """What the outputs are made of, and what several of them need, worked out once.

    Attributes:
        verdict: The gate's.
        evalset: The set.
        candidate: What was judged.
        baselines: `release`, `champion`, where given, in this order.
        day: Which pictures are live; None: the set's own day.
        page: Address of the page that shows this verdict among others; None: none is known.
    """

    verdict: GateVerdict
    evalset: EvalSet
    candidate: Measured
    baselines: Mapping[str, Measured]
    day: Date | None = None
    page: str | None = None

    @cached_property
    def k(self) -> int:
        """Return the cut that the report speaks of."""
        return headline_cut(self.verdict, self.candidate)

    @cached_property
    def catalogue(self) -> Catalogue:
        """Return what the catalogue says of a picture."""
        return Catalogue(self.evalset, self.day)

    @cached_property
    def readers(self) -> Mapping[str, LossReader]:
        """Return who says why a query was lost, by role; the candidate's knows what the main baseline holds."""
        systems = {"candidate": self.candidate, **self.baselines}
        base = None if self.main is None else self.baselines[self.main]
        return {
            role: LossReader(
                self.evalset, measured, day=self.day, k=self.k, baseline=base if role == "candidate" else None
            )
            for role, measured in systems.items()
        }

    @property
    def main(self) -> str | None:
        """Return the baseline that lists are shown beside: the release, else the champion, else none."""
        return next(iter(self.baselines), None)

    @cached_property
    def flips(self) -> Flips:
        """Return what changed against the main baseline."""
        base = None if self.main is None else self.baselines[self.main]
        return flips_of(self.evalset, self.candidate, base, self.readers["candidate"], k=self.k)

    @cached_property
    def slices(self) -> Mapping[str, list[SliceRow]]:
        """Return the slices compared, by metric."""
        return {
            metric: compared_slices(self.candidate, self.baselines, metric, alpha=self.verdict.alpha)
            for metric in headline_metrics(self.candidate, self.k)
        }


def write_outputs(
    verdict: GateVerdict,
    evalset: EvalSet,
    candidate: Measured,
    *,
    release: Measured | None = None,
    champion: Measured | None = None,
    folder: Path,
    day: Date | None = None,
    picture: ReadPicture | None = None,
    page: str | None = None,
) -> tuple[Path, ...]:
    """Write verdict.json, junit.xml, summary.md, report.html and per_query.parquet.

    All five are made before the first appears. A folder that is not there yet appears with all of them by one rename;
    in one that is, an older verdict.json goes first and the new one comes last, so that it never stands beside files
    of another verdict.

    Args:
        verdict: Of these systems on this set.
        evalset: The set; with a root, the page shows its pictures.
        candidate: What was judged.
        release: As it was given to the gate.
        champion: Likewise.
        folder: Where; made if missing, files of these names are replaced, others left alone.
        day: Which pictures are live; None: the set's own day.
        picture: How to read a picture; None: from the set's root.
        page: Where the report leads to beside itself: the page of the gate; None: nowhere.

    Returns:
        The paths, verdict.json first.

    Raises:
        StoreError: The folder cannot be written; a folder that was there keeps no verdict.json of another run then.
    """
    both = {"release": release, "champion": champion}
    given = {role: measured for role, measured in both.items() if measured is not None}
    files = _contents(Evidence(verdict, evalset, candidate, given, day, page), picture)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        _appear(folder, files)
    except OSError as error:
        raise StoreError(
            f"{folder}: the gate's outputs cannot be written: {error.strerror or error}; name another folder by --out"
        ) from error
    return tuple(folder / name for name in reversed(FILES))


def _contents(evidence: Evidence, picture: ReadPicture | None) -> Mapping[str, bytes]:
    from evaluation.outputs.junit import junit_bytes
    from evaluation.outputs.page import page_bytes
    from evaluation.outputs.per_query import per_query_bytes
    from evaluation.outputs.summary import summary_text
    from evaluation.outputs.verdict_json import verdict_bytes

    systems = {"candidate": evidence.candidate, **evidence.baselines}
    table = per_query_bytes(evidence.evalset, systems, evidence.readers, evidence.catalogue, k=evidence.k)
    return {
        "junit.xml": junit_bytes(evidence.verdict),
        "summary.md": summary_text(evidence).encode("utf-8", "backslashreplace"),
        "report.html": page_bytes(evidence, picture),
        "per_query.parquet": table,
        "verdict.json": verdict_bytes(evidence.verdict),
    }


def _appear(folder: Path, files: Mapping[str, bytes]) -> None:
    """Let the files appear."""
    partial = folder.parent / f".{folder.name}.{secrets.token_hex(6)}.partial"
    partial.mkdir()
    try:
        for name in FILES:
            with (partial / name).open("xb") as stream:
                stream.write(files[name])
                stream.flush()
                os.fsync(stream.fileno())
        sync_folder(partial)
        if not folder.exists():
            partial.rename(folder)
        else:
            (folder / FILES[-1]).unlink(missing_ok=True)
            sync_folder(folder)
            for name in FILES:
                (partial / name).replace(folder / name)
            sync_folder(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    sync_folder(folder.parent)
