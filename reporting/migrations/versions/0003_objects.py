"""a picture holds several objects: what an id was given to is kept beside it"""

import sqlalchemy as sa
from alembic import op

revision = '0003'
down_revision = '0002'


def upgrade() -> None:
    for name in ('x0', 'y0', 'x1', 'y1'):
        op.add_column('item_id', sa.Column(name, sa.Integer(), nullable=True))
    op.add_column('item_id', sa.Column('score', sa.Float(), nullable=True))
    op.add_column('item_id', sa.Column('label', sa.String(length=128), nullable=True))
    op.add_column('item_id', sa.Column('class_scores', sa.Text(), nullable=True))
