"""Searchers: whatever can answer a set's queries ends as one `System` (evaluation/system.py).

run_file.py    answers written down: TREC, Parquet, a saved folder     service.py any service, over HTTP
index.py       the pipeline's own index, from four sides               opening.py which of them a name means

To add one: a function that returns a `System`, and one line in opening.py.
"""

from evaluation.searchers.opening import open_system

__all__ = ["open_system"]
