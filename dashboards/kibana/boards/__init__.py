"""One dashboard a file: `board(names)` returns it for a prefix and a task graph. The table is in `catalogue.py`."""
