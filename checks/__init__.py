"""Checks: close the books over the task graph, and page one person for one cause.

spec.py      checks.yaml as typed models     scan.py, past.py     one read of the store gives a View (view.py)
kinds/       one file a kind of check        engine.py, run.py    judge a View (pure); write it down and act
localise.py  which leaves explain a break    sentence.py, repair.py   in words; the command that mends it
causes.py, lifecycle.py, incident_store.py   one incident a cause     sinks/, deliver.py   who is told, by an outbox
backtest.py  past days as of each moment     mutate.py, faults.py     the checks' own recall    watch.py   the clock

Judging is pure: it reads a View and nothing else. To add a kind see kinds/__init__.py; to add a sink, a file in
sinks/ with its model in settings.py and a line in opening.py.
"""
