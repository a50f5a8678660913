"""Every table of the product, as SQLAlchemy Core. Alembic (`migrations/`) builds and changes them.

Times are ISO-8601 text in UTC with microseconds (they sort as text and read the same in SQLite and
PostgreSQL); leases are epoch seconds, because they are only ever compared with a clock.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Date,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    UniqueConstraint,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# SQLite gives rising row ids only to INTEGER primary keys.
_Serial = BigInteger().with_variant(Integer, "sqlite")


def _key_columns() -> tuple[Column[object], ...]:
    return (
        Column("task", String(128), nullable=False),
        Column("date", Date, nullable=False),
        Column("category", String(128), nullable=False),
        Column("subinstance", String(128), nullable=False),
        Column("planid", String(128), nullable=False),
    )


plan = Table(
    "plan",
    metadata,
    Column("planid", String(128), primary_key=True),
    Column("kind", String(16), nullable=False),
    Column("state", String(16), nullable=False),
    Column("created_at", String(32), nullable=False),
    Column("completed_at", String(32)),
    Column("promoted_at", String(32)),
    Column("revision", BigInteger, nullable=False, server_default="1"),  # rises by one with each change
    Column("body", Text, nullable=False),  # the frozen rest, as JSON
)

plan_day = Table(
    "plan_day",
    metadata,
    Column("planid", ForeignKey("plan.planid"), nullable=False),
    Column("date", Date, nullable=False),
    Column("sealed_at", String(32)),  # set when the day's split is sealed: from then on the manifest is whole
    Column("split", Text),  # JSON: packages and categories
    PrimaryKeyConstraint("planid", "date"),
    Index(None, "date"),
)

expected_leaf = Table(
    "expected_leaf",
    metadata,
    *_key_columns(),
    PrimaryKeyConstraint("planid", "task", "date", "category", "subinstance"),
)

record = Table(
    "record",
    metadata,
    *_key_columns(),
    Column("state", String(16), nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("input", BigInteger, nullable=False),
    Column("output", BigInteger, nullable=False),
    Column("produced", BigInteger, nullable=False),
    Column("dropped_total", BigInteger, nullable=False),
    Column("failed_total", BigInteger, nullable=False),
    Column("seconds", Float, nullable=False, server_default="0"),  # finished_at - started_at
    Column("content_hash", String(32), nullable=False),
    Column("reported_at", String(32), nullable=False),
    Column("body", Text, nullable=False),  # the whole record, as JSON
    PrimaryKeyConstraint("planid", "task", "date", "category", "subinstance"),
    Index(None, "date", "task"),
)

event = Table(
    "event",
    metadata,
    Column("seq", _Serial, primary_key=True, autoincrement=True),
    Column("event_id", String(32), nullable=False, unique=True),
    Column("kind", String(16), nullable=False),  # running | record | lost
    *_key_columns(),
    Column("version", BigInteger, nullable=False),
    Column("at", String(32), nullable=False),
    Column("body", Text, nullable=False),
    Index(None, "planid", "task", "date"),
    Index(None, "date", "at"),
)

outbox = Table(
    "outbox",
    metadata,
    Column("seq", _Serial, primary_key=True, autoincrement=True),
    Column("topic", String(32), nullable=False),  # see `outbox.Topic`
    Column("document_id", String(128), nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("body", Text, nullable=False),
    Column("created_at", String(32), nullable=False),
)

outbox_dead = Table(
    "outbox_dead",
    metadata,
    Column("id", _Serial, primary_key=True, autoincrement=True),  # not the outbox's seq: SQLite gives it out again
    Column("topic", String(32), nullable=False),
    Column("document_id", String(128), nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("body", Text, nullable=False),
    Column("created_at", String(32), nullable=False),
    Column("fate", String(16), nullable=False),  # poison | conflict
    Column("error", Text, nullable=False),
    Column("died_at", String(32), nullable=False),
)

verdict = Table(
    "verdict",
    metadata,
    Column("verdict_id", String(128), primary_key=True),
    Column("date", Date, nullable=False),
    Column("planid", String(128), nullable=False),
    Column("outcome", String(16), nullable=False),
    Column("decided_at", String(32), nullable=False),
    Column("revision", BigInteger, nullable=False, server_default="1"),
    Column("body", Text, nullable=False),
    Index(None, "planid", "date"),
)

instance = Table(
    "instance",
    metadata,
    Column("id", _Serial, primary_key=True, autoincrement=True),
    *_key_columns(),
    Column("state", String(16), nullable=False),  # waiting | ready | running | done | failed
    Column("priority", Integer, nullable=False, default=0),
    Column("waiting_on", Integer, nullable=False, default=0),  # upstream instances not done yet
    Column("attempt", Integer, nullable=False, default=0),
    Column("max_attempts", Integer, nullable=False),
    Column("token", String(32)),  # fencing token of the present attempt
    Column("worker", String(128)),
    Column("lease_until", Float),  # epoch seconds
    Column("available_at", Float, nullable=False, default=0.0),  # epoch seconds: back-off after a failure
    Column("artifact", Text),  # the committed output folder, relative to the lake
    Column("inputs", Text),  # JSON: the upstream partitions that were read, with plan and attempt
    Column("built_with", Text),  # JSON: hashes of code, settings and models
    Column("error", Text),
    Column("started_at", String(32)),
    Column("finished_at", String(32)),
    UniqueConstraint("planid", "task", "date", "category", "subinstance"),
    Index(None, "state", "priority", "id"),
    Index(None, "state", "lease_until"),
    Index(None, "date", "task"),
)

dependency = Table(
    "dependency",
    metadata,
    Column("upstream_id", ForeignKey("instance.id"), nullable=False),
    Column("downstream_id", ForeignKey("instance.id"), nullable=False),
    PrimaryKeyConstraint("upstream_id", "downstream_id"),
    Index(None, "downstream_id"),
)

attempt = Table(
    "attempt",
    metadata,
    Column("instance_id", ForeignKey("instance.id"), nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("worker", String(128), nullable=False),
    Column("outcome", String(16)),  # NULL while running; done | failed | lost
    Column("error", Text),
    Column("started_at", String(32), nullable=False),
    Column("finished_at", String(32)),
    PrimaryKeyConstraint("instance_id", "attempt"),
)

lease = Table(
    "lease",
    metadata,
    Column("name", String(128), primary_key=True),
    Column("owner", String(128), nullable=False),
    Column("until", Float, nullable=False),
)

counter = Table(
    "counter",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("next", BigInteger, nullable=False),
)

item_id = Table(
    "item_id",
    metadata,
    Column("picture", String(64), nullable=False),  # sha256 of the bytes
    Column("detector", String(64), nullable=False),  # name and version; `whole-1` where the picture is the object
    Column("ordinal", Integer, nullable=False),
    Column("id", BigInteger, nullable=False, unique=True),
    # Pixels of the upright picture. NULL, as all that follows: registered before there were boxes.
    Column("x0", Integer),
    Column("y0", Integer),
    Column("x1", Integer),
    Column("y1", Integer),
    Column("score", Float),
    Column("label", String(128)),  # the detector's class
    Column("class_scores", Text),  # JSON: a probability for each of the detector's classes
    PrimaryKeyConstraint("picture", "detector", "ordinal"),
)

quantizer = Table(
    "quantizer",
    metadata,
    Column("category", String(128), nullable=False),
    Column("space_id", String(64), nullable=False),
    Column("codec", String(32), nullable=False),
    Column("revision", Integer, nullable=False),  # another one is another training, and another window of shards
    Column("fingerprint", String(64), nullable=False),
    Column("path", Text, nullable=False),  # relative to the lake
    Column("trained_on", String(128), nullable=False),
    Column("training", Text),  # JSON: imbalance and error over what it was trained on; NULL: from before it was noted
    Column("created_at", String(32), nullable=False),
    PrimaryKeyConstraint("category", "space_id", "codec", "revision"),
)

backfill = Table(
    "backfill",
    metadata,
    Column("id", _Serial, primary_key=True, autoincrement=True),
    Column("selector", Text, nullable=False),  # JSON: days, tasks, categories, subinstances, mode, cap
    Column("reason", Text, nullable=False),
    Column("requested_by", String(128), nullable=False),
    Column("planids", Text, nullable=False),  # JSON list
    Column("created_at", String(32), nullable=False),
)

check_run = Table(
    "check_run",
    metadata,
    Column("run_id", String(64), primary_key=True),
    Column("date", Date, nullable=False),  # the business day that was judged
    Column("as_of", String(32), nullable=False),
    Column("started_at", String(32), nullable=False),
    Column("finished_at", String(32), nullable=False),
    Column("status", String(16), nullable=False),  # of the whole run
    Column("config_hash", String(64), nullable=False),
    Column("results", Integer, nullable=False),  # how many rows of `evaluation` it wrote
    Column("body", Text, nullable=False),
    Index(None, "date", "started_at"),
)

evaluation = Table(
    "evaluation",
    metadata,
    Column("seq", _Serial, primary_key=True, autoincrement=True),
    Column("run_id", String(64), nullable=False),
    Column("check_id", String(128), nullable=False),
    Column("instance", Text, nullable=False),
    Column("date", Date, nullable=False),
    Column("status", String(16), nullable=False),  # pass | warn | fail | not_evaluated | error: each is kept
    Column("as_of", String(32), nullable=False),
    Column("config_hash", String(64), nullable=False),
    Column("body", Text, nullable=False),  # the result, as JSON
    Index(None, "date", "check_id"),
    Index(None, "check_id", "date"),
    Index(None, "run_id"),
)

incident = Table(
    "incident",
    metadata,
    Column("episode", String(64), primary_key=True),
    Column("fingerprint", String(64), nullable=False),  # of what broke and on which day: several episodes share one
    Column("date", Date, nullable=False),
    Column("state", String(16), nullable=False),
    Column("opened_at", String(32), nullable=False),
    Column("updated_at", String(32), nullable=False),
    Column("revision", BigInteger, nullable=False, server_default="1"),  # rises by one with each change
    Column("body", Text, nullable=False),
    Index(None, "state"),
    Index(None, "fingerprint", "state"),
    Index(None, "date"),
)

incident_action = Table(
    "incident_action",
    metadata,
    Column("seq", _Serial, primary_key=True, autoincrement=True),
    Column("episode", String(64), nullable=False),
    Column("at", String(32), nullable=False),
    Column("kind", String(16), nullable=False),  # what was done; rows are only ever added
    Column("who", String(128), nullable=False),
    Column("why", Text, nullable=False),
    Column("body", Text, nullable=False),
    Index(None, "episode"),
)

notice = Table(
    "notice",
    metadata,
    Column("seq", _Serial, primary_key=True, autoincrement=True),
    Column("notice_id", String(128), nullable=False, unique=True),  # the same notice is never queued twice
    Column("sink", String(64), nullable=False),
    Column("episode", String(64), nullable=False),
    Column("event", String(16), nullable=False),  # trigger | update | remind | acknowledge | resolve | summary
    Column("body", Text, nullable=False),
    Column("created_at", String(32), nullable=False),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("available_at", Float, nullable=False, server_default="0"),  # epoch seconds: back-off after a failure
    Column("state", String(16), nullable=False),  # waiting | sent | dead
    Column("sent_at", String(32)),
    Column("error", Text),
    Index(None, "state", "available_at"),
    Index(None, "episode", "sink"),
)
