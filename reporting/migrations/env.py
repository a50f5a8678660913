"""Alembic's entry: runs the migrations on the connection it is handed (see stores/sql_engine.py)."""

from alembic import context

from reporting.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
