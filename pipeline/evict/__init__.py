"""Forgetting: which stored pictures stay when the window moves on, and why; the last copy of a product never goes.

`policy` is the file a person writes, `stored` what there is to decide about, `decide` the rule, `audit` the row that
each decision leaves, `verify` the proof from index and catalogue alone, `simulate` a year of it. All but the tasks
(`pipeline/tasks/evict.py`, `recheck.py`) and `cli_evict.py` is pure.

Recipe, another reason to keep or drop: its name in `decisions.Reason`, its line in `decide`, the same line in the naive
oracle of the tests (`tests/pipeline/evict/naive.py`), its row in `docs/evict.md`.
"""
