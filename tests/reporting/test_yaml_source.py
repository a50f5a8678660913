"""YAML with places: every key path has its line, and no key may be said twice."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict

from reporting.errors import ConfigError
from reporting.yaml_source import load_yaml, parse_yaml

TEXT = """\
# a comment

a: 1
b:
  c: [x, y]
  d:
    - e: 1
    - f: 2
"""


class Strict(BaseModel):
    """A model that refuses what it does not know."""

    model_config = ConfigDict(extra="forbid")


class Inner(Strict):
    """The inmost part."""

    size: int = 0


class Outer(Strict):
    """Models in every kind of container."""

    one: Inner = Inner()
    maybe: Inner | None = None
    many: list[Inner] = []
    named: dict[str, Inner] = {}
    nested: dict[str, tuple[Inner, ...]] = {}


def test_every_key_path_has_the_line_of_its_key():
    source = parse_yaml(TEXT, "f.yaml")
    paths = {
        ("a",): 3,
        ("b",): 4,
        ("b", "c"): 5,
        ("b", "c", 1): 5,
        ("b", "d"): 6,
        ("b", "d", 1): 8,
        ("b", "d", 1, "f"): 8,
    }
    assert {path: source.lines[path] for path in paths} == paths
    assert source.data == yaml.safe_load(TEXT)


def test_a_path_that_is_not_there_has_the_place_of_its_nearest_parent():
    source = parse_yaml(TEXT, "f.yaml")
    assert source.where(("b", "d", 0, "missing", "deep")) == "f.yaml:7"
    assert source.where(("nowhere",)) == "f.yaml:3"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text("abc: {}[]#'\"\n&*!|>%@`-", max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abcd", max_size=3), inner, max_size=3),
    max_leaves=10,
)


@given(data=JSON)
def test_values_are_those_of_the_yaml_library(data):
    assert parse_yaml(yaml.safe_dump(data, allow_unicode=True), "f.yaml").data == data


@pytest.mark.parametrize("text", ["a: 1\nb: 2\na: 3\n", "a: 1\nb: 2\n'a': 3\n"])
def test_a_key_said_twice_is_refused_with_both_lines(text):
    with pytest.raises(ConfigError, match=r"^f\.yaml:3: key 'a' is already set in line 1; keep one$"):
        parse_yaml(text, "f.yaml")


def test_the_same_key_in_two_places_is_no_repeat():
    assert parse_yaml("a: {x: 1}\nb: {x: 2}\nc: [{x: 1}, {x: 2}]\n", "f.yaml").data["b"] == {"x": 2}


@pytest.mark.parametrize("text", ["", "# only a comment\n", "---\n"])
def test_an_empty_file_is_a_model_of_defaults(text):
    assert parse_yaml(text, "f.yaml").to_model(Outer) == Outer()


@pytest.mark.parametrize("text", ["a: [1\n", "a: b: c\n", "\ta: 1\n", "a: *nobody\n", "a: !!python/name:os.system\n"])
def test_what_is_not_safe_yaml_is_told_with_file_and_line(text):
    with pytest.raises(ConfigError, match=r"^f\.yaml:[12]: not valid YAML: "):
        parse_yaml(text, "f.yaml")


@pytest.mark.parametrize("text", ["a: 1\n---\nb: 2\n", "a: \x01\n", "{[]: 1}\n", "? {a: 1}\n: 2\n"])
def test_odd_documents_are_our_errors_too(text):
    with pytest.raises(ConfigError, match=r"^f\.yaml"):
        parse_yaml(text, "f.yaml")


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("one: {sise: 1}", "one.sise"),
        ("maybe: {sise: 1}", "maybe.sise"),
        ("many:\n  - {sise: 1}", "many.0.sise"),
        ("named:\n  x: {sise: 1}", "named.x.sise"),
        ("nested:\n  x:\n    - {sise: 1}", "nested.x.0.sise"),
    ],
)
def test_an_unknown_key_names_the_nearest_one_however_deep_it_stands(text, place):
    with pytest.raises(ConfigError) as raised:
        parse_yaml(text, "f.yaml").to_model(Outer)
    assert str(raised.value) == f"f.yaml:{len(text.splitlines())}: unknown key {place!r}; did you mean size?"


def test_a_folder_in_the_files_place_is_told(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read"):
        load_yaml(tmp_path)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a: 1\nb: 2026-13-45\n", 2),  # has the form of a date
        ("a:\n  - 1\n  - !!int x\n", 3),
        ("a: &a [*a]\n", 1),
        ("[" * 5000, 1),
    ],
)
def test_a_value_that_cannot_be_made_is_told_with_its_line(text, line):
    with pytest.raises(ConfigError, match=rf"^f\.yaml:{line}: "):
        parse_yaml(text, "f.yaml")


def test_a_few_lines_of_aliases_do_not_become_a_billion_values():
    """Billion laughs: each line names the one before ten times."""
    lines = ["a0: &a0 [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    with pytest.raises(ConfigError, match="more than 100,000 values"):
        parse_yaml("\n".join(lines), "f.yaml")
