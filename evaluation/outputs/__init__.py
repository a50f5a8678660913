"""The five files that every verdict leaves: verdict.json, junit.xml, summary.md, report.html, per_query.parquet.

All are made of one `GateVerdict` and the measurements behind it, without a clock or a network: equal inputs give
equal bytes. One module a file; `hit_lists.py`, `comparison.py` and `flips.py` prepare what several of them show, and
`folder.py` lets all five appear or none. A new output is one module and its line in `folder.py`.
"""

from evaluation.outputs.folder import FILES, write_outputs

__all__ = ["FILES", "write_outputs"]
