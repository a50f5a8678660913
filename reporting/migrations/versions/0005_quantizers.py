"""a category's quantizer may be trained anew: its codec and revision are part of its key, its training is noted"""

import sqlalchemy as sa
from alembic import op

revision = '0005'
down_revision = '0004'

KEPT = ('category', 'space_id', 'fingerprint', 'path', 'trained_on', 'created_at')


def upgrade() -> None:
    # A primary key cannot be changed on SQLite, and its name cannot be taken twice on PostgreSQL: a handful of rows
    # is read, and written into the new table.
    connection = op.get_bind()
    rows = connection.execute(sa.text(f"SELECT {', '.join(KEPT)} FROM quantizer")).mappings().all()
    op.drop_table('quantizer')
    table = op.create_table('quantizer',
    sa.Column('category', sa.String(length=128), nullable=False),
    sa.Column('space_id', sa.String(length=64), nullable=False),
    sa.Column('codec', sa.String(length=32), nullable=False),
    sa.Column('revision', sa.Integer(), nullable=False),
    sa.Column('fingerprint', sa.String(length=64), nullable=False),
    sa.Column('path', sa.Text(), nullable=False),
    sa.Column('trained_on', sa.String(length=128), nullable=False),
    sa.Column('training', sa.Text(), nullable=True),
    sa.Column('created_at', sa.String(length=32), nullable=False),
    sa.PrimaryKeyConstraint('category', 'space_id', 'codec', 'revision', name=op.f('pk_quantizer'))
    )
    if rows:
        op.bulk_insert(table, [{**row, 'codec': 'flat', 'revision': 1, 'training': None} for row in rows])
