"""Settings: defaults, then the file, then the environment; every unknown name is refused where it stands."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from funnelgate import Settings
from reporting.errors import ConfigError
from reporting.settings import absolute_url, describe, find_config, load_settings

FILE = """\
store:
  url: sqlite:///mine.db
run:
  workers: 3
"""


def load(tmp_path: Path, text: str | None = FILE, **environ: str):
    path = None
    if text is not None:
        path = tmp_path / "project" / "funnelgate.yaml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return load_settings(Settings, path, environ, tmp_path)


def test_without_a_file_the_defaults_stand(tmp_path):
    loaded = load(tmp_path, None)
    assert loaded.values == Settings()
    assert loaded.folder == tmp_path
    assert {origin for _, _, origin in describe(loaded)} == {"default"}


def test_the_file_goes_before_the_defaults_and_the_environment_before_the_file(tmp_path):
    loaded = load(tmp_path, FUNNELGATE_RUN__WORKERS="5", FUNNELGATE_LOG__LEVEL="DEBUG")
    assert loaded.values.store.url == "sqlite:///mine.db"
    assert loaded.values.run.workers == 5
    assert loaded.values.log.level == "DEBUG"
    assert loaded.values.run.lease_seconds == Settings().run.lease_seconds


def test_each_value_says_where_it_came_from(tmp_path):
    path = tmp_path / "project" / "funnelgate.yaml"
    loaded = load(tmp_path, FILE + "pipeline: mine.yaml\n", FUNNELGATE_RUN__WORKERS="5")
    origins = {key: (value, origin) for key, value, origin in describe(loaded)}
    assert origins["store.url"] == ("sqlite:///mine.db", f"{path}:2")
    assert origins["run.workers"] == ("5", "FUNNELGATE_RUN__WORKERS")
    assert origins["pipeline"] == ("mine.yaml", f"{path}:5")
    assert origins["log.level"] == ("INFO", "default")
    assert origins["run.source"] == ("null", "default")


def test_relative_paths_start_from_the_files_folder(tmp_path):
    loaded = load(tmp_path)
    assert loaded.folder == tmp_path / "project"
    assert absolute_url(loaded.values.store.url, loaded.folder) == f"sqlite:///{tmp_path}/project/mine.db"


@pytest.mark.parametrize("url", ["sqlite:////var/x.db", "postgresql://u@h/d"])
def test_absolute_and_server_urls_stay_as_they_are(url):
    assert absolute_url(url, Path("/anywhere")) == url


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("stoore:\n  url: x\n", 1, "unknown key 'stoore'; did you mean store?"),
        ("store:\n  url: x\n  urll: y\n", 3, "unknown key 'store.urll'; did you mean url?"),
        ("run:\n  workers: many\n", 2, "run.workers: Input should be a valid integer"),
        ("run:\n  workers: 0\n", 2, "run.workers: Input should be greater than or equal to 1"),
        ("store:\n  url: a\nrun: {}\nstore:\n  url: b\n", 4, "key 'store' is already set in line 1"),
        ("- store\n", 1, "expected sections"),
        ("store: [a]\n", 1, "store: Input should be a valid dictionary"),
        ("run:\n  workers: [3\n", 3, "not valid YAML"),
        ("log:\n  level: LOUD\n", 2, "log.level"),
    ],
)
def test_a_fault_in_the_file_is_told_with_its_line(tmp_path, text, line, message):
    with pytest.raises(ConfigError) as raised:
        load(tmp_path, text)
    assert f"funnelgate.yaml:{line}: " in str(raised.value)
    assert message in str(raised.value)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("FUNNELGATE_STOER__URL", "environment variable FUNNELGATE_STOER__URL: unknown section 'stoer'; did you mean"),
        ("FUNNELGATE_RUN__WORKER", "environment variable FUNNELGATE_RUN__WORKER: unknown key run.worker; did you mean"),
        ("FUNNELGATE_RUN", "environment variable FUNNELGATE_RUN: run: Input should be a valid dictionary"),
    ],
)
def test_a_fault_in_the_environment_is_told_with_the_variables_name(tmp_path, name, message):
    with pytest.raises(ConfigError) as raised:
        load(tmp_path, **{name: "1"})
    assert message in str(raised.value)


def test_a_bad_value_in_the_environment_names_the_variable(tmp_path):
    """Not the line of the file that it overrides."""
    with pytest.raises(ConfigError, match=r"FUNNELGATE_RUN__WORKERS.*run\.workers.*valid integer"):
        load(tmp_path, FUNNELGATE_RUN__WORKERS="many")


def test_an_environment_value_that_is_no_yaml_is_our_error(tmp_path):
    with pytest.raises(ConfigError, match="FUNNELGATE_STORE__URL"):
        load(tmp_path, FUNNELGATE_STORE__URL="[")


def test_an_environment_key_in_a_section_that_the_file_spoils_is_our_error(tmp_path):
    with pytest.raises(ConfigError, match=r"funnelgate\.yaml:1: "):
        load(tmp_path, "run: 3\n", FUNNELGATE_RUN__WORKERS="2")


def test_an_empty_section_and_an_empty_variable_keep_the_defaults_or_null(tmp_path):
    assert load(tmp_path, "run: {}\n").values.run == Settings().run
    assert load(tmp_path, "run:\n  # workers: 3\npipeline:\n").values == Settings()
    assert load(tmp_path, "run:\n", FUNNELGATE_RUN__WORKERS="7").values.run.workers == 7
    assert load(tmp_path, None, FUNNELGATE_LOG__PATH="").values.log.path is None


def test_variables_that_are_no_settings_are_left_alone(tmp_path):
    environ = {"FUNNELGATE_CONFIG": "x", "FUNNELGATE_SHARED": "y", "FUNNELGATE_REQUIRE": "z", "HOME": "h"}
    assert load(tmp_path, None, **environ).values == Settings()


def test_a_tag_that_would_run_code_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"funnelgate\.yaml:2: not valid YAML"):
        load(tmp_path, "store:\n  url: !!python/object/apply:os.getcwd []\n")


def test_the_option_goes_before_the_variable_and_that_before_the_folder(tmp_path):
    (tmp_path / "funnelgate.yaml").write_text(FILE)
    option, variable = tmp_path / "a.yaml", tmp_path / "b.yaml"
    environ = {"FUNNELGATE_CONFIG": str(variable)}
    assert find_config(option, environ, tmp_path) == option
    assert find_config(None, environ, tmp_path) == variable
    assert find_config(None, {}, tmp_path) == tmp_path / "funnelgate.yaml"
    assert find_config(None, {}, tmp_path / "elsewhere") is None


def test_a_named_file_that_is_missing_is_told(tmp_path):
    with pytest.raises(ConfigError, match=r"nowhere\.yaml: no such file; .*funnelgate init"):
        load_settings(Settings, tmp_path / "nowhere.yaml", {}, tmp_path)


def test_a_file_that_is_no_text_is_told(tmp_path):
    path = tmp_path / "funnelgate.yaml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match=r"funnelgate\.yaml: cannot be read"):
        load_settings(Settings, path, {}, tmp_path)


def test_the_settings_file_that_init_writes_is_accepted(tmp_path):
    from pipeline.project import write_project

    settings, topology = write_project(tmp_path / "new")
    loaded = load_settings(Settings, settings, {}, tmp_path)
    assert loaded.values.pipeline == Path("pipeline.yaml")
    assert yaml.safe_load(topology.read_text())["version"] == 1
