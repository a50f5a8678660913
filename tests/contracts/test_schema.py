"""The schema: migrations build exactly what `tables.py` declares, once, however many processes start at once."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import timedelta

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import inspect, select, text

from reporting.errors import StoreError
from reporting.key import KEY_PARTS
from reporting.stores import open_store
from reporting.stores.base import RecordQuery
from reporting.stores.sql_engine import SCHEMA_HEAD, make_engine
from reporting.tables import item_id, metadata, quantizer
from reporting.testing import MOMENT, make_record
from tests.contracts.conftest import SQL_STORES

OPEN = "import sys; from reporting.stores import open_store; open_store(sys.argv[1]).close()"


def test_migrations_leave_no_difference_to_the_declared_tables(sql_store):
    with sql_store.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, metadata) == []
    assert set(inspect(sql_store.engine).get_table_names()) == {*metadata.tables, "alembic_version"}


def test_a_missing_column_would_be_noticed(sql_store):
    """The oracle of the test above can fail."""
    with sql_store.begin() as work:
        work.connection.exec_driver_sql("ALTER TABLE outbox DROP COLUMN topic")
    with sql_store.engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata)


def test_schema_head_is_the_newest_migration(repository):
    config = Config()
    config.set_main_option("script_location", str(repository / "reporting" / "migrations"))
    assert ScriptDirectory.from_config(config).get_heads() == [SCHEMA_HEAD]


@pytest.mark.parametrize("name", SQL_STORES)
def test_opening_again_keeps_what_is_there(name, new_url):
    url, record = new_url(name), make_record()
    with open_store(url) as store, store.begin() as work:
        work.put_record(record)
    with open_store(url) as store:
        assert store.get_record(record.key) == record


@pytest.mark.parametrize("name", SQL_STORES)
def test_ids_given_before_objects_had_boxes_stay_when_the_schema_grows(name, new_url, repository):
    engine = make_engine(new_url(name))
    config = Config()
    config.set_main_option("script_location", str(repository / "reporting" / "migrations"))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0002")
        connection.execute(text("INSERT INTO item_id (picture, detector, ordinal, id) VALUES ('p', 'whole-1', 0, 7)"))
    engine.dispose()
    with open_store(engine.url.render_as_string(hide_password=False)) as store, store.read() as connection:
        row = connection.execute(select(item_id)).one()
    assert row._asdict() == {
        **{"picture": "p", "detector": "whole-1", "ordinal": 0, "id": 7},
        **dict.fromkeys(("x0", "y0", "x1", "y1", "score", "label", "class_scores")),
    }


@pytest.mark.parametrize("name", SQL_STORES)
def test_quantizers_of_before_they_had_a_revision_stay_the_first_flat_ones(name, new_url, repository):
    engine = make_engine(new_url(name))
    config = Config()
    config.set_main_option("script_location", str(repository / "reporting" / "migrations"))
    kept = {"fingerprint": "f", "path": "q.faiss", "trained_on": "index/2026-11-01/red/all/p", "created_at": "2026"}
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0004")
        for category in ("red", "green"):
            row = {"category": category, "space_id": "s", **kept}
            names = ", ".join(row)
            connection.execute(text(f"INSERT INTO quantizer ({names}) VALUES (:{', :'.join(row)})"), row)
    engine.dispose()
    with open_store(engine.url.render_as_string(hide_password=False)) as store, store.read() as connection:
        rows = connection.execute(select(quantizer).order_by(quantizer.c.category)).all()
    assert [row._asdict() for row in rows] == [
        {"category": category, "space_id": "s", "codec": "flat", "revision": 1, "training": None, **kept}
        for category in ("green", "red")
    ]


@pytest.mark.parametrize("name", SQL_STORES)
def test_records_booked_before_seconds_had_a_column_get_theirs_to_the_microsecond(name, new_url, repository):
    """Written by hand, as the release before wrote them: a body, and columns without `seconds`."""
    engine = make_engine(new_url(name))
    config = Config()
    config.set_main_option("script_location", str(repository / "reporting" / "migrations"))
    took = [timedelta(0), timedelta(microseconds=1), timedelta(hours=30, microseconds=999_999), timedelta(seconds=2)]
    made = [make_record(category=f"c{n}", started_at=MOMENT - one) for n, one in enumerate(took)]
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0003")
        for made_one in made:
            row = {**dict(zip(KEY_PARTS, made_one.key.parts(), strict=True)), "body": made_one.model_dump_json()}
            connection.execute(
                text(
                    "INSERT INTO record VALUES (:task, :date, :category, :subinstance, :planid, 'succeeded', 1, 1,"
                    " 10, 10, 10, 0, 0, '', '', :body)"
                ),
                row,
            )
    engine.dispose()
    with open_store(engine.url.render_as_string(hide_password=False)) as store:
        found = store.sums(RecordQuery(), ["category"], ["seconds"])
        assert [one.values[0] for one in found] == [one.total_seconds() for one in took]
        assert [one.seconds for one in store.records(RecordQuery())] == [one.values[0] for one in found]


@pytest.mark.slow
@pytest.mark.parametrize("name", SQL_STORES)
def test_processes_that_open_a_new_database_at_once_all_succeed(name, new_url, repository):
    url = new_url(name)
    processes = [
        subprocess.Popen([sys.executable, "-c", OPEN, url], stderr=subprocess.PIPE, text=True, cwd=repository)
        for _ in range(3)
    ]
    assert [(process.communicate(timeout=60)[1], process.returncode) for process in processes] == [("", 0)] * 3
    with open_store(url) as store:
        assert set(inspect(store.engine).get_table_names()) == {*metadata.tables, "alembic_version"}


@pytest.mark.parametrize("name", SQL_STORES)
def test_a_newer_schema_is_refused(name, new_url):
    url = new_url(name)
    with open_store(url) as store, store.begin() as work:
        work.connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(StoreError, match=r"schema 9999 is newer than this program .*upgrade funnelgate"):
        open_store(url)


def test_a_file_that_is_no_database_is_named_with_a_remedy(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("these are my notes, and no database at all" * 50)
    with pytest.raises(StoreError, match=r"notes\.txt.*file is not a database.*check that"):
        open_store(f"sqlite:///{path}")


def test_a_database_that_somebody_else_holds_locked_is_a_store_error(tmp_path, monkeypatch):
    monkeypatch.setattr("reporting.stores.sql_engine.BUSY_TIMEOUT_SECONDS", 0.01)
    path = tmp_path / "store.db"
    open_store(f"sqlite:///{path}").close()
    with closing(sqlite3.connect(path, isolation_level=None)) as other, open_store(f"sqlite:///{path}") as store:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match="database is locked; check that"):
            store.delete_plan_records("daily")
        assert store.records(RecordQuery()) == []  # readers do not wait for writers
        other.execute("ROLLBACK")
        assert store.delete_plan_records("daily") == 0


def test_a_server_that_is_not_there_is_named_without_its_password():
    with pytest.raises(StoreError) as raised:
        open_store("postgresql://me:geheim@127.0.0.1:1/nowhere")
    assert "127.0.0.1" in str(raised.value)
    assert "geheim" not in str(raised.value)
    assert raised.value.exit_code == 4
