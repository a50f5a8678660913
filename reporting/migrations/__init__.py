"""One Alembic tree for every table of the product; `stores/sql_engine.py` runs it."""
