"""The pipeline, from a source manifest to a released, searchable index: the product's first customer of its own books.

planner, plans, run, scheduler, backfill   what is to be done     worker, supervisor, instances   who does it, and once
sources, fetch/, images/, models/          what tasks work with   lake, partitions, item_ids      where results lie
tasks/                                     one small file a task  index/, window/, release/, serve/  shards to answers

Imports only `reporting`; what it needs of the other folders (the gate) is handed in by `funnelgate.py`.
Recipe, a task: see `tasks/__init__`. Recipe, a command: one function in a `cli_*.py`, mounted in `cli.py`.
"""
