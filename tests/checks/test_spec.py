"""checks.yaml: what is accepted, what is refused and where, and what its hash knows."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

import checks
import pipeline
from checks.spec import KINDS, LoadedChecks, json_schema, load_checks
from reporting.errors import ConfigError
from reporting.topology import Topology
from tests.checks.world import TOPOLOGY

RULES = Path(checks.__file__).parent / "rules"
DEFAULT_TOPOLOGY = Topology.load(Path(pipeline.__file__).parent / "default.yaml")
SMALL = """\
version: 1
holidays: [2026-12-25]
checks:
  - {id: books, kind: conservation, tasks: "*"}
  - id: yield
    kind: ratio
    value: dropped.blurred / input
    tasks: [quality]
    between: [0, 0.5]
  - id: custom
    kind: expr
    expr: "dropped['no_object'] / input < 0.35"
    on: detect
"""
Load = Callable[..., LoadedChecks]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Load a text as checks.yaml against the small topology."""

    def loaded(text: str, topology: Topology = TOPOLOGY) -> LoadedChecks:
        path = tmp_path / "checks.yaml"
        path.write_text(text, encoding="utf-8")
        return load_checks(path, topology)

    return loaded


def test_there_are_the_ten_kinds_of_the_design():
    expected = "complete conservation digest drift expr fresh plan_diff ratio reconcile version"
    assert sorted(KINDS) == expected.split()
    assert all(model.model_fields["kind"].is_required() for model in KINDS.values())


def test_the_default_rules_fit_the_default_task_graph_and_say_what_each_check_is_for():
    loaded = load_checks(RULES / "default.yaml", DEFAULT_TOPOLOGY)
    assert {check.kind for check in loaded.file.checks} >= {
        "complete", "conservation", "digest", "drift", "fresh", "ratio", "reconcile", "version",
    }  # fmt: skip
    assert [check.id for check in loaded.file.checks if not check.description] == []
    reconciled = {(one.source, one.task) for one in loaded.instances(DEFAULT_TOPOLOGY) if one.kind == "reconcile"}
    assert {(e.source, e.target) for e in DEFAULT_TOPOLOGY.edges if e.law != "after"} <= reconciled
    assert ("collect", "index") in reconciled, "the yield from end to end"


def test_every_task_of_the_default_graph_is_judged_by_the_books_and_by_the_manifest():
    loaded = load_checks(RULES / "default.yaml", DEFAULT_TOPOLOGY)
    for kind in ("conservation", "complete"):
        judged = {one.task for one in loaded.instances(DEFAULT_TOPOLOGY) if one.kind == kind}
        assert judged == set(DEFAULT_TOPOLOGY.tasks), kind


def test_a_small_file_is_read_in_its_order(load):
    loaded = load(SMALL)
    assert [(check.id, check.kind) for check in loaded.file.checks] == [
        ("books", "conservation"),
        ("yield", "ratio"),
        ("custom", "expr"),
    ]
    assert [day.isoformat() for day in loaded.file.holidays] == ["2026-12-25"]
    assert re.fullmatch("[0-9a-f]{16}", loaded.config_hash)
    assert loaded.where("yield").endswith("checks.yaml:5")


WRONG = [
    ("checks: []\n", 1, "at least 1 item"),
    ("", 1, "checks: Field required"),
    ("- 1\n", 1, "(whole file)"),
    ("version: 2\nchecks: [{id: a, kind: conservation}]\n", 1, "version"),
    ("chekcs: []\n", 1, "unknown key 'chekcs'; did you mean checks?"),
    ("checks:\n  - just text\n", 2, "dictionary"),
    ("checks:\n  - {id: a}\n", 2, "a check has no kind; expected one of: complete, conservation"),
    ("checks:\n  - id: a\n    kind: conservatoin\n", 3, "unknown kind 'conservatoin'; did you mean conservation?"),
    ("checks:\n  - id: a\n    kind: [drift]\n", 3, "unknown kind"),
    ("checks:\n  - {id: a, kind: conservation}\n  - {id: b, kind: nonsense}\n", 3, "unknown kind 'nonsense'"),
    ("checks:\n  - id: a\n    kind: conservation\n    task: x\n", 4, "unknown key 'task'; did you mean tasks?"),
    (
        "checks:\n  - id: a\n    kind: conservation\n    levels:\n      warn: 0\n      pgae: 1\n",
        6,
        "unknown key 'levels.pgae'; did you mean page?",
    ),
    ("checks:\n  - id: a\n    kind: conservation\n    levels: {warn: -1}\n", 4, "levels.warn"),
    ("checks:\n  - id: a/b\n    kind: conservation\n", 2, "id"),
    ("checks:\n  - kind: conservation\n", 2, "id: Field required"),
    (
        "checks:\n  - id: a\n    kind: conservation\n    tasks:\n      - crop\n      - detcet\n",
        6,
        "unknown task 'detcet'; did you mean detect?",
    ),
    ("checks:\n  - id: a\n    kind: reconcile\n    edges: [detect -> embed]\n", 4, "unknown edge"),
    (
        "checks:\n  - id: a\n    kind: ratio\n    value: dropped.blured / input\n    tasks: [quality]\n"
        "    between: [0, 1]\n",
        4,
        "dropped.blurred",
    ),
    ("checks:\n  - {id: a, kind: conservation}\n  - {id: b, kind: complete}\n  - {id: a, kind: complete}\n", 4, ":2"),
    ("checks:\n  - {id: a, kind: conservation}\nholidays: [20261225]\n", 3, "expected a day as in 2026-11-01"),
    ("checks:\n  - {id: a, kind: conservation}\nholidays: [2026-13-45]\n", 3, "month must be in 1..12"),
    ("checks:\n  - {id: a, kind: conservation}\nholidays:\n - !!bool maybe\n", 4, "cannot be read"),
    ("checks:\n  - id: a\n    kind: conservation\n   tasks: '*'\n", 4, "not valid YAML"),
    ("checks: [\n" + "[" * 500, 2, "nested too deeply"),
    ("checks: &a\n  - {id: a, kind: conservation, tasks: *a}\n", 2, "an alias that holds itself"),
    ('checks:\n  - {id: "\\UFFFFFFFF"}\n', 2, "cannot be read"),
]


@pytest.mark.parametrize(("text", "line", "says"), WRONG, ids=range(len(WRONG)))
def test_a_fault_is_told_with_its_line_and_the_nearest_valid_name(text, line, says, load):
    with pytest.raises(ConfigError) as refused:
        load(text)
    first = str(refused.value).splitlines()[0]
    assert re.search(rf"checks\.yaml:{line}: ", first), str(refused.value)
    assert says in str(refused.value)


def test_all_faults_are_told_at_once(load):
    text = "checks:\n  - {id: a, kind: nonsense}\n  - {id: b, kind: complete, nope: 1}\n  - {id: b, kind: complete}\n"
    with pytest.raises(ConfigError) as refused:
        load(text)
    lines = str(refused.value).splitlines()
    assert [re.search(r":(\d+): ", line)[1] for line in lines] == ["2", "3", "4"]  # type: ignore[index]


def test_the_hash_knows_what_is_meant_and_not_how_it_is_written(load):
    reordered = SMALL.replace(
        '{id: books, kind: conservation, tasks: "*"}', "{tasks: '*', kind: conservation, id: books}"
    )
    same = [SMALL, "# a comment\n" + SMALL, reordered, SMALL.replace("version: 1\n", "")]
    other = [
        SMALL.replace("0.5]", "0.6]"),
        SMALL.replace("id: books", "id: book"),
        SMALL.replace("12-25", "12-26"),
        SMALL.replace("0.35", "0.36"),
    ]
    assert len({load(text).config_hash for text in same}) == 1
    assert len({load(text).config_hash for text in [SMALL, *other]}) == 1 + len(other)
    later = TOPOLOGY.model_copy(update={"timezone": "Asia/Shanghai"})
    assert load(SMALL, later).config_hash != load(SMALL).config_hash


def test_some_checks_are_chosen_in_the_file_s_order_under_its_hash(load):
    loaded = load(SMALL)
    chosen = loaded.only(["custom", "books"])
    assert [check.id for check in chosen.file.checks] == ["books", "custom"]
    assert chosen.config_hash == loaded.config_hash
    assert loaded.only([]) is loaded
    with pytest.raises(ConfigError, match="unknown check 'boks'; did you mean books"):
        loaded.only(["boks"])


def plain(text: str) -> object:
    """Return what an editor's validator sees: days as text."""
    return json.loads(json.dumps(yaml.load(text, Loader=TextKeys), default=str))


class TextKeys(yaml.SafeLoader):
    """Reads `on` as a key, as YAML 1.2 and editors do."""


TextKeys.yaml_implicit_resolvers = {
    first: [one for one in resolvers if one[0] != "tag:yaml.org,2002:bool"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
TextKeys.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile("^(true|false)$"), ["t", "f"])


def test_the_schema_for_editors_takes_what_the_loader_takes():
    validator = Draft202012Validator(json_schema())
    Draft202012Validator.check_schema(json_schema())
    validator.validate(plain((RULES / "default.yaml").read_text(encoding="utf-8")))
    validator.validate(plain(SMALL))


@pytest.mark.parametrize(
    "text",
    [
        "checks: []",
        "checks: [{id: a}]",
        "checks: [{id: a, kind: nonsense}]",
        "checks: [{id: a, kind: conservation, task: x}]",
        "checks: [{id: a, kind: conservation, levels: {warn: -1}}]",
        "checks: [{id: a, kind: conservation}]\nholiday: []",
    ],
)
def test_the_schema_for_editors_refuses_what_the_loader_refuses(text):
    assert not Draft202012Validator(json_schema()).is_valid(plain(text))


def test_the_key_on_is_no_boolean_and_neither_are_its_kin(load):
    (check,) = load('checks: [{id: a, kind: expr, expr: "input > 0", on: detect}]').file.checks
    assert check.on == "detect"
    with pytest.raises(ConfigError, match=r":1: unknown key 'No'"):
        load('checks: [{id: a, kind: expr, expr: "input > 0", on: detect, No: 1}]')


def test_a_check_can_be_written_by_its_anchor(load):
    text = "checks:\n  - &base {id: a, kind: conservation, tasks: [crop]}\n  - {<<: *base, id: b}\n"
    assert [(check.id, check.tasks) for check in load(text).file.checks] == [("a", ("crop",)), ("b", ("crop",))]


NASTY = [
    "*", "&a", "*a", "<<: *a", "!!int x", "!!python/object:os.system", "2026-99-99", "0x", "1e999", ".nan", "~", "'",
    '"', "{", "}", "[", "]", "- ", "? ", ": ", "|", ">", "%TAG", "---", "...", "\t", "\x07", "\ud7ff", "\ufeff", "null",
    "true", "-1", "[]", "{}", "12:30:45", "!!binary =", "!!timestamp x", "=", "id", "kind", "tasks", "edges", "collect",
    "drift", "expr", "reconcile", "pair", "path", "9" * 400, "x" * 200, "\n", "\n    ", "\n  - ",
]  # fmt: skip


def mutated(text: str, chance: random.Random) -> str:
    """Return the text with a few of its characters, words or lines changed, moved or lost."""
    for _ in range(chance.randint(1, 4)):
        at, to = sorted(chance.choices(range(len(text) + 1), k=2))
        lines = text.splitlines(keepends=True) or [""]
        line = chance.randrange(len(lines))
        text = chance.choice(
            [
                text[:at] + chance.choice(NASTY) + text[at:],
                text[:at] + chance.choice(NASTY) + text[min(to, at + 8) :],
                text[:at] + text[min(to, at + 12) :],
                "".join(lines[:line] + lines[line + 1 :]),
                "".join([*lines[:line], lines[line], *lines[line:]]),
                "".join([*lines[:line], " " * chance.randint(1, 3), *lines[line:]]),
                text[:at],
            ]
        )
    return text


SEEDS = [
    SMALL,
    "checks:\n  - {id: a, kind: reconcile, edges: ['detect -> crop'], group_by: [subinstance]}\n",
    "checks:\n  - {id: a, kind: drift, measure: output, tasks: '*', group_by: [category]}\n",
    "checks:\n  - {id: a, kind: fresh, tasks: [merge], levels: {warn: 0m, page: 30m}, grace: 20m}\n",
    "checks:\n  - {id: a, kind: version, fields: [model], within: plan}\n  - {id: b, kind: digest, edges: '*'}\n",
]


def refusal_of(load: Load, text: str) -> str | None:
    """Return why a text is refused, None where it is taken; anything but a refusal with a line fails the test."""
    try:
        load(text)
    except ConfigError as error:
        refusal = str(error)
    else:
        return None
    assert re.match(r"\S*checks\.yaml:\d+: \S", refusal), f"no line: {refusal}\n{text!r}"
    return refusal


@pytest.mark.slow
def test_nine_thousand_spoilt_files_are_taken_or_refused_with_a_line(load):
    chance = random.Random(6)
    refused = sum(refusal_of(load, mutated(chance.choice(SEEDS), chance)) is not None for _ in range(9000))
    assert refused > 6000, "the mutations must reach the refusals"


@pytest.mark.slow
def test_a_thousand_texts_of_anybody_are_taken_or_refused_with_a_line(tmp_path_factory):
    path = tmp_path_factory.mktemp("any") / "checks.yaml"
    value = st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(NASTY),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
        max_leaves=6,
    )
    entry = st.fixed_dictionaries({"id": value, "kind": st.sampled_from(sorted(KINDS))}, optional={"tasks": value})
    more = st.dictionaries(st.sampled_from(["group_by", "levels", "between", "expr", "path", "fields"]), value)

    @settings(max_examples=1000)
    @given(st.lists(st.builds(dict.__or__, entry, more), max_size=2) | value | st.text(max_size=40))
    def taken_or_refused(found: object) -> None:
        text = found if isinstance(found, str) else yaml.safe_dump({"checks": found}, allow_unicode=True)
        path.write_text(text, encoding="utf-8", errors="replace")
        refusal_of(lambda _text: load_checks(path, TOPOLOGY), text)

    taken_or_refused()
