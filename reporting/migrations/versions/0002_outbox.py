"""the outbox is shipped: plans and verdicts count their changes, and what no cluster takes is kept apart"""

import sqlalchemy as sa
from alembic import op

revision = '0002'
down_revision = '0001'

SERIAL = sa.BigInteger().with_variant(sa.Integer(), 'sqlite')


def upgrade() -> None:
    for name in ('plan', 'verdict'):
        op.add_column(name, sa.Column('revision', sa.BigInteger(), nullable=False, server_default='1'))
    # SQLite gives the numbers of deleted outbox rows out again, so they cannot be the key of what was put aside.
    # Nothing ever wrote to the table before: it is made anew.
    op.drop_table('outbox_dead')
    op.create_table('outbox_dead',
    sa.Column('id', SERIAL, autoincrement=True, nullable=False),
    sa.Column('topic', sa.String(length=32), nullable=False),
    sa.Column('document_id', sa.String(length=128), nullable=False),
    sa.Column('version', sa.BigInteger(), nullable=False),
    sa.Column('body', sa.Text(), nullable=False),
    sa.Column('created_at', sa.String(length=32), nullable=False),
    sa.Column('fate', sa.String(length=16), nullable=False),
    sa.Column('error', sa.Text(), nullable=False),
    sa.Column('died_at', sa.String(length=32), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_outbox_dead'))
    )
