"""Conditions as text: they mean what Python means by them, and reach nothing but numbers."""

from __future__ import annotations

import ast
import math
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from checks.expression import MAX_DEPTH, MAX_NODES, Answer, Expression, read_expression
from reporting.errors import ConfigError

VALUES = {"input": 100.0, "output": 60.0, "dropped": 30.0, "failed": 10.0, "dropped.x": 30.0, "metrics.m": 2.5}

_NAMES = {"input": "input", "output": "output", "dropped_total": "dropped", "failed_total": "failed"}
_LEAVES = st.one_of(
    st.sampled_from([*_NAMES, "dropped['x']", 'metrics["m"]']),
    st.integers(0, 10**14).map(str),
    st.floats(0, 1e6, allow_nan=False).map(repr),
)


def _numbers(inner):
    return st.one_of(
        st.tuples(inner, st.sampled_from(["+", "-", "*", "/", "//", "%"]), inner).map(
            lambda t: f"({t[0]} {t[1]} {t[2]})"
        ),
        inner.map(lambda text: f"-{text}"),
        inner.map(lambda text: f"abs({text})"),
        st.lists(inner, min_size=2, max_size=3).map(lambda parts: f"max({', '.join(parts)})"),
        st.lists(inner, min_size=2, max_size=3).map(lambda parts: f"min({', '.join(parts)})"),
    )


NUMBERS = st.recursive(_LEAVES, _numbers, max_leaves=8)
COMPARISONS = st.tuples(
    NUMBERS, st.lists(st.tuples(st.sampled_from(["<", "<=", ">", ">=", "==", "!="]), NUMBERS), min_size=1, max_size=3)
).map(lambda t: t[0] + "".join(f" {op} {right}" for op, right in t[1]))
CONDITIONS = st.recursive(
    COMPARISONS,
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["and", "or"]), inner).map(lambda t: f"({t[0]} {t[1]} {t[2]})"),
        inner.map(lambda text: f"not ({text})"),
    ),
    max_leaves=3,
)


def by_python(text: str) -> bool | None:
    """What Python makes of it, with floats; None where it divides by zero or leaves the finite numbers."""
    names: dict[str, Any] = {name: VALUES[measure] for name, measure in _NAMES.items()}
    names |= {"dropped": {"x": VALUES["dropped.x"]}, "metrics": {"m": VALUES["metrics.m"]}}

    class Floats(ast.NodeTransformer):
        def visit_Constant(self, node):
            return ast.Constant(float(node.value)) if isinstance(node.value, int) else node

    tree = ast.fix_missing_locations(Floats().visit(ast.parse(text, mode="eval")))
    try:
        return bool(
            eval(compile(tree, "condition", "eval"), {"__builtins__": {}, "min": min, "max": max, "abs": abs}, names)
        )
    except (ZeroDivisionError, OverflowError):
        return None


@settings(max_examples=80)
@given(text=CONDITIONS)
def test_a_condition_means_what_python_means_by_it(text):
    try:
        found = read_expression(text)
    except ConfigError as error:
        if not any(part in str(error) for part in ("asks nothing of a record", "has over", "characters, at most")):
            raise
        return
    answer = found.evaluate(VALUES)
    expected = by_python(text)
    if answer.holds is None:
        assert expected is None or "e+" in answer.why or "great" in answer.why
    else:
        assert answer.holds is expected


WORDS = (
    "input output produced seconds records dropped failed metrics dropped_total failed_total ['x'] [\"y\"] [0] [input] "
    "( ) [ ] { } . , : ; = := + - * / // % ** @ & | ^ ~ << >> < <= > >= == != and or not is in if else for lambda "
    "await yield None True False ... 0 1 1.5 1e999 10**9 1j 'text' b'bytes' f'{input}' f'{().__class__}' __import__ "
    "('os') .__class__ .__mro__ .__subclasses__() .format .real getattr eval exec open compile globals() print min max "
    "abs min(input,1) abs(input) min(*metrics) max(key=input) \\ # ｉnput 0x1f 1_000 1if 0or ' \""
)
_TOKENS = st.sampled_from([*WORDS.split(" "), "", "\n", "\x00", "\udc80"])
_SPOILT = st.tuples(CONDITIONS, _TOKENS, st.integers(0, 500), st.integers(0, 3)).map(
    lambda t: t[0][: t[2] % (len(t[0]) + 1)] + t[1] + t[0][t[2] % (len(t[0]) + 1) + t[3] :]
)
"""A condition with a token put in its way, over up to three of its characters."""
SOUP = st.one_of(
    _SPOILT, st.lists(_TOKENS, max_size=12).map(" ".join), st.lists(_TOKENS, max_size=12).map("".join), st.text()
)


@pytest.mark.slow
@settings(max_examples=2500)
@given(text=SOUP)
def test_none_of_many_texts_reaches_anything_but_numbers(text):
    reaches_nothing_but_numbers(text)


@settings(max_examples=150)
@given(text=SOUP)
@example("input.__class__.__base__.__subclasses__() == 0")
@example("(lambda: input)() < 1")
@example("[x for x in (input,)][0] < 1")
@example("input if input else output")
@example("metrics[metrics['a']] > 1")
@example("9" * 400 + " < input")
@example("(" * 120 + "input" + ")" * 120 + " < 1")
@example("-" * 300 + "input < 1")
@example("not " * 100 + "input < 1")
@example("input < 1" + " < 1" * 90)
@example("\x00")
@example("input <")
@example("")
def test_no_text_gives_anything_but_an_answer_or_an_error_of_configuration(text):
    reaches_nothing_but_numbers(text)


def reaches_nothing_but_numbers(text):
    try:
        found = read_expression(text)
    except ConfigError:
        return
    assert isinstance(found, Expression)
    assert found.measures
    tree = ast.parse(text.strip(), mode="eval").body
    allowed = (
        ast.BoolOp, ast.Compare, ast.BinOp, ast.UnaryOp, ast.Constant, ast.Name, ast.Subscript, ast.Call, ast.Load,
        ast.boolop, ast.cmpop, ast.operator, ast.unaryop,
    )  # fmt: skip
    for node in ast.walk(tree):
        assert isinstance(node, allowed), ast.dump(node)
        assert not isinstance(node, ast.Pow | ast.MatMult | ast.In | ast.NotIn | ast.Is | ast.IsNot | ast.Invert)
        if isinstance(node, ast.Call):
            assert isinstance(node.func, ast.Name)
            assert node.func.id in ("min", "max", "abs")
    for values in (dict.fromkeys(found.measures, 3.0), dict.fromkeys(found.measures, 0.0), {}):
        answer = found.evaluate(values)
        assert isinstance(answer, Answer)
        assert answer.holds in (True, False, None)
        assert (answer.holds is None) == bool(answer.why)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("input.real < 1", "'input.real' is no number"),
        ("inpt < 1", r"'inpt' is no name of the record; did you mean input\?"),
        ("dropped < 1", r"write dropped_total or dropped\['name'\]"),
        ("metrics > 1", r"write metrics\['name'\]"),
        ("input['a'] < 1", "has none; dropped, failed, metrics have"),
        ("dropped[input] < 1", r"needs a name in quotes: dropped\['name'\]"),
        ("input ** 2 < 1", "calculates by `Pow`"),
        ("input in (1, 2)", "compares by `In`"),
        ("input", "is no condition; compare"),
        ("input and output", "is no condition; compare"),
        ("(input < 1) + 1 < 2", "is no number"),
        ("True", "is no condition"),
        ("input < True", "'True' is no number"),
        ("1 < 2", "asks nothing of a record"),
        ("input < 1e15", "is too great"),
        ("input < 1000000000000000", "is too great"),
        ("open('x') < input", "calls what is not allowed"),
        ("max(input) < 1", "needs 2 numbers or more"),
        ("abs(input, 1) < 1", "needs 1 number"),
        ("min(input, 1, key=abs) < 1", "calls what is not allowed"),
        ("input <", "is no condition: "),
        ("input < 1if 1 else 2", "is no condition: "),
        ("input" + " + 1" * 60 + " < 3", f"has over {MAX_NODES} parts or is deeper than {MAX_DEPTH}"),
        ("input < 0" + "0" * 500, "at most 500"),
    ],
)
def test_what_is_refused_is_named(text, told):
    with pytest.raises(ConfigError, match=told):
        read_expression(text)


def test_a_condition_says_what_it_needs():
    found = read_expression("dropped['a b'] + failed_total < metrics['m'] * input and input > 0")
    assert found.measures == ("dropped.a b", "failed", "metrics.m", "input")


def test_a_single_comparison_tells_its_sides():
    answer = read_expression("dropped['x'] / input < 0.35").evaluate(VALUES)
    assert answer == Answer(True, "", 0.3, 0.35)


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("metrics['none'] < 1", None),
        ("input == 0 or metrics['none'] < 1", None),
        ("input > 0 or metrics['none'] < 1", True),
        ("input == 0 and metrics['none'] < 1", False),
        ("input / 0 < 1", None),
        ("input % (output - 60) < 1", None),
    ],
)
def test_what_cannot_be_said_is_unknown_from_left_to_right(text, holds):
    assert read_expression(text).evaluate(VALUES).holds is holds


def test_a_number_that_is_too_great_is_unknown_not_infinite():
    huge = {"input": 1e200, "output": math.pi}
    assert read_expression("input * input > output").evaluate(huge).holds is None
    assert read_expression("input * input - input * input == 0").evaluate(huge).holds is None
