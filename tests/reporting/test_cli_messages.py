"""What goes wrong on the command line ends with the code of its kind and one message: fact, place, remedy."""

from __future__ import annotations

import pytest

from tests.reporting.conftest import daily, day_records, fill


def refused(ran, code, *parts):
    """Assert an exit code, and one error message without a traceback."""
    assert ran.code == code, ran
    assert ran.out == ""
    assert "Traceback" not in ran.err
    for part in parts:
        assert part in ran.err


@pytest.mark.parametrize("command", ["balance", "funnel"])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--date", "2026-13-01"), "error: '2026-13-01' is no day; write it YYYY-MM-DD"),
        (("--date", "yesterday"), "error: 'yesterday' is no day"),
        (("--from", "2026-11-02", "--to", "2026-11-01"), "--to 2026-11-01 is before --from 2026-11-02; swap them"),
        (("--date", "2026-11-01", "--from", "2026-11-01"), "give either --date, or --from and --to"),
    ],
)
def test_days_that_make_no_sense_end_with_2(command, options, message, three_days, run):
    refused(run(command, *options, "--json"), 2, message)


def test_an_unknown_plan_names_the_nearest(three_days, run):
    refused(run("funnel", "--plan", "daily-9"), 2, "there is no plan 'daily-9'; did you mean daily-")


def test_a_moment_that_is_none_ends_with_2(three_days, run):
    refused(run("funnel", "--as-of", "noon"), 2, "'noon' is no moment; write it as in")


@pytest.mark.parametrize("command", ["balance", "funnel"])
def test_before_the_first_run_the_message_says_how_to_begin(command, project, run):
    refused(run(command), 2, "nothing has been run here yet; begin with `funnelgate run --source")


def test_an_unknown_key_in_the_settings_names_file_line_and_the_nearest(project, run):
    (project / "funnelgate.yaml").write_text("store:\n  urll: x\n")
    refused(run("balance"), 2, "funnelgate.yaml:2: unknown key 'store.urll'; did you mean url?")


def test_a_settings_file_that_is_missing_is_named_with_what_to_do(project, run):
    refused(
        run("--config", "nowhere.yaml", "balance"), 2, "nowhere.yaml: no such file; create it with `funnelgate init`"
    )


def test_a_fault_in_the_task_graph_names_file_and_line(project, run):
    text = (project / "pipeline.yaml").read_text()
    (project / "pipeline.yaml").write_text(text.replace("to: index", "to: indx"))
    fill(project, day_records(0), [daily(0)])
    line = 1 + text.splitlines().index("  to: index") - 1
    refused(run("balance"), 2, f"pipeline.yaml:{line}: ", "unknown task 'indx'; did you mean index?")


def test_a_store_that_is_no_database_ends_with_4(project, run):
    (project / "state").mkdir()
    (project / "state" / "store.db").write_text("not a database at all " * 100)
    refused(run("balance"), 4, "store.db", "file is not a database", "check that")


def test_a_store_of_another_kind_ends_with_2(project, run, monkeypatch):
    monkeypatch.setenv("FUNNELGATE_STORE__URL", "mysql://me:geheim@db/x")
    ran = run("balance")
    refused(ran, 2, "'mysql' is no store; expected sqlite:///file.db or postgresql://host/database")
    assert "geheim" not in ran.err


def test_an_unknown_option_ends_with_2(project, run):
    refused(run("balance", "--dat", "2026-11-01"), 2, "--dat")


def test_config_show_hides_secrets_and_says_where_each_value_came_from(project, run, monkeypatch):
    monkeypatch.setenv("FUNNELGATE_STORE__URL", "postgresql://me:geheim@db/x")
    shown = run("config", "show", "--json")
    rows = {row["key"]: row for row in shown.json()}
    assert shown.code == 0
    assert rows["store.url"] == {
        "key": "store.url",
        "value": "postgresql://me:***@db/x",
        "origin": "FUNNELGATE_STORE__URL",
    }
    assert rows["pipeline"]["origin"].endswith("funnelgate.yaml:3")
    assert rows["log.level"]["origin"] == "default"
    plain = run("config", "show")
    assert "geheim" not in shown.out + plain.out
    assert "postgresql://me:***@db/x" in plain.out
