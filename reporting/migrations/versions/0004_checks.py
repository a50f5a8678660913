"""checks: their evaluations, incidents and notices; and the seconds of a record, to be added up"""

from datetime import datetime

import sqlalchemy as sa
from alembic import op

revision = '0004'
down_revision = '0003'

SERIAL = sa.BigInteger().with_variant(sa.Integer(), 'sqlite')


def upgrade() -> None:
    _seconds()
    _evaluations()
    _incidents()
    _notices()


def _seconds() -> None:
    op.add_column('record', sa.Column('seconds', sa.Float(), nullable=False, server_default='0'))
    connection = op.get_bind()
    if connection.dialect.name == 'sqlite':
        # SQLite's own functions of time know milliseconds.
        connection.connection.driver_connection.create_function('funnelgate_seconds', 2, _between, deterministic=True)
        took = "funnelgate_seconds(json_extract(body, '$.started_at'), json_extract(body, '$.finished_at'))"
    else:
        moments = (f"(CAST(body AS json) ->> '{name}_at')::timestamptz" for name in ('finished', 'started'))
        took = f"extract(epoch FROM {' - '.join(moments)})"
    connection.execute(sa.text(f'UPDATE record SET seconds = {took}'))


def _between(started: str, finished: str) -> float:
    return (datetime.fromisoformat(finished) - datetime.fromisoformat(started)).total_seconds()


def _evaluations() -> None:
    op.create_table('check_run',
    sa.Column('run_id', sa.String(length=64), nullable=False),
    sa.Column('date', sa.Date(), nullable=False),
    sa.Column('as_of', sa.String(length=32), nullable=False),
    sa.Column('started_at', sa.String(length=32), nullable=False),
    sa.Column('finished_at', sa.String(length=32), nullable=False),
    sa.Column('status', sa.String(length=16), nullable=False),
    sa.Column('config_hash', sa.String(length=64), nullable=False),
    sa.Column('results', sa.Integer(), nullable=False),
    sa.Column('body', sa.Text(), nullable=False),
    sa.PrimaryKeyConstraint('run_id', name=op.f('pk_check_run'))
    )
    op.create_index(op.f('ix_check_run_date_started_at'), 'check_run', ['date', 'started_at'])
    op.create_table('evaluation',
    sa.Column('seq', SERIAL, autoincrement=True, nullable=False),
    sa.Column('run_id', sa.String(length=64), nullable=False),
    sa.Column('check_id', sa.String(length=128), nullable=False),
    sa.Column('instance', sa.Text(), nullable=False),
    sa.Column('date', sa.Date(), nullable=False),
    sa.Column('status', sa.String(length=16), nullable=False),
    sa.Column('as_of', sa.String(length=32), nullable=False),
    sa.Column('config_hash', sa.String(length=64), nullable=False),
    sa.Column('body', sa.Text(), nullable=False),
    sa.PrimaryKeyConstraint('seq', name=op.f('pk_evaluation'))
    )
    op.create_index(op.f('ix_evaluation_date_check_id'), 'evaluation', ['date', 'check_id'])
    op.create_index(op.f('ix_evaluation_check_id_date'), 'evaluation', ['check_id', 'date'])
    op.create_index(op.f('ix_evaluation_run_id'), 'evaluation', ['run_id'])


def _incidents() -> None:
    op.create_table('incident',
    sa.Column('episode', sa.String(length=64), nullable=False),
    sa.Column('fingerprint', sa.String(length=64), nullable=False),
    sa.Column('date', sa.Date(), nullable=False),
    sa.Column('state', sa.String(length=16), nullable=False),
    sa.Column('opened_at', sa.String(length=32), nullable=False),
    sa.Column('updated_at', sa.String(length=32), nullable=False),
    sa.Column('revision', sa.BigInteger(), nullable=False, server_default='1'),
    sa.Column('body', sa.Text(), nullable=False),
    sa.PrimaryKeyConstraint('episode', name=op.f('pk_incident'))
    )
    op.create_index(op.f('ix_incident_state'), 'incident', ['state'])
    op.create_index(op.f('ix_incident_fingerprint_state'), 'incident', ['fingerprint', 'state'])
    op.create_index(op.f('ix_incident_date'), 'incident', ['date'])
    op.create_table('incident_action',
    sa.Column('seq', SERIAL, autoincrement=True, nullable=False),
    sa.Column('episode', sa.String(length=64), nullable=False),
    sa.Column('at', sa.String(length=32), nullable=False),
    sa.Column('kind', sa.String(length=16), nullable=False),
    sa.Column('who', sa.String(length=128), nullable=False),
    sa.Column('why', sa.Text(), nullable=False),
    sa.Column('body', sa.Text(), nullable=False),
    sa.PrimaryKeyConstraint('seq', name=op.f('pk_incident_action'))
    )
    op.create_index(op.f('ix_incident_action_episode'), 'incident_action', ['episode'])


def _notices() -> None:
    op.create_table('notice',
    sa.Column('seq', SERIAL, autoincrement=True, nullable=False),
    sa.Column('notice_id', sa.String(length=128), nullable=False),
    sa.Column('sink', sa.String(length=64), nullable=False),
    sa.Column('episode', sa.String(length=64), nullable=False),
    sa.Column('event', sa.String(length=16), nullable=False),
    sa.Column('body', sa.Text(), nullable=False),
    sa.Column('created_at', sa.String(length=32), nullable=False),
    sa.Column('attempts', sa.Integer(), nullable=False, server_default='0'),
    sa.Column('available_at', sa.Float(), nullable=False, server_default='0'),
    sa.Column('state', sa.String(length=16), nullable=False),
    sa.Column('sent_at', sa.String(length=32), nullable=True),
    sa.Column('error', sa.Text(), nullable=True),
    sa.PrimaryKeyConstraint('seq', name=op.f('pk_notice')),
    sa.UniqueConstraint('notice_id', name=op.f('uq_notice_notice_id'))
    )
    op.create_index(op.f('ix_notice_state_available_at'), 'notice', ['state', 'available_at'])
    op.create_index(op.f('ix_notice_episode_sink'), 'notice', ['episode', 'sink'])
