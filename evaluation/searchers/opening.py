"""Which searcher a name means: a run file, a folder, an address, or the pipeline's index."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from reporting.errors import UsageError

if TYPE_CHECKING:
    from evaluation.evalset import EvalSet
    from evaluation.searchers.index import IndexUnderTest
    from evaluation.system import System

INDEX = "index"
Opened = Callable[[str], "IndexUnderTest"]
"""Opens a generation by what follows `index:`; "" is the current release. Handed in by the root."""


def open_system(name: str, evalset: EvalSet, *, opened: Opened | None = None, latency_queries: int = 0) -> System:
    """Ask what a name means for its answers to a set.

    Args:
        name: A run file or folder; `http://...` or `https://...`; `index`, or `index:7` for release 7.
        evalset: The set.
        opened: Opens the pipeline's index; None where there is no pipeline.
        latency_queries: For an index: over how many queries latency is measured, 5 runs each; 0: not at all. Of a
            service every query is timed anyway.

    Raises:
        UsageError: A name that means nothing here.
        DataError: A malformed run, or a service that answers nonsense.
    """
    from evaluation.searchers.run_file import is_run, read_system

    kind, _, rest = name.partition(":")
    if kind in ("http", "https"):
        from evaluation.searchers.service import ask_service

        return ask_service(name, evalset)
    if kind == INDEX and not Path(name).exists():
        from evaluation.searchers.index import system_of

        if opened is None:
            raise UsageError(f"{name}: there is no pipeline here, so there is no index; give a run file")
        return system_of(opened(rest), evalset, latency_queries=latency_queries)
    path = Path(name)
    if not is_run(path) and not path.exists():
        raise UsageError(
            f"{name!r} is no searcher: expected a run file (.parquet, .trec, .run, .txt, also .gz), a saved folder, "
            "`index`, `index:RELEASE`, or an address http://..."
        )
    return read_system(path, evalset)
