"""Keys: safe names only, and a document id that depends on nothing but the key."""

from __future__ import annotations

import string
import subprocess
import sys
import unicodedata
from datetime import date as Date
from pathlib import PurePosixPath, PureWindowsPath

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from reporting.key import ALL, KEY_PARTS, RunKey

DAYS = st.dates(Date(2000, 1, 1), Date(2100, 1, 1))
LETTERS = st.characters(exclude_categories=("Cs", "Cc"), exclude_characters='/\\|:*?"<>')
NAMES = st.text(LETTERS, min_size=1, max_size=128).filter(lambda s: s[0] not in ". " and s[-1] not in ". ")


def make_key(**changes):
    return RunKey(**{"task": "embed", "date": Date(2026, 11, 1), "planid": "p1", **changes})


@given(name=NAMES)
def test_a_safe_name_is_kept_as_it_is_and_is_one_part_of_a_path(name):
    assert make_key(category=name).category == name
    assert PurePosixPath("root", name).parent == PurePosixPath("root")
    assert PureWindowsPath("root", name).parent == PureWindowsPath("root")


@pytest.mark.parametrize("part", ["task", "category", "subinstance", "planid"])
@pytest.mark.parametrize(
    "bad", ["", "a/b", "a\\b", "..", ".", ".hidden", "end.", " a", "a ", "a|b", "C:", "a\nb", "a\0b", "x" * 129]
)
def test_a_name_that_could_leave_its_folder_or_break_a_line_is_refused(part, bad):
    with pytest.raises(ValidationError, match=r"must |contains"):
        make_key(**{part: bad})


@given(text=st.text(st.sampled_from(string.printable + "\x85\u2028\u2029\x1b\x9b\ud800é鞋"), min_size=1, max_size=8))
def test_whatever_is_accepted_has_no_separator_and_no_control_character(text):
    try:
        key = make_key(category=text)
    except ValidationError:
        return
    assert str(key).split("/") == list(key.parts())
    assert not {unicodedata.category(character) for character in key.category} & {"Cc", "Zl", "Zp", "Cs"}
    assert len(str(key).splitlines()) == 1
    key.category.encode()


def test_a_dimension_that_does_not_split_is_all():
    assert (make_key().category, make_key().subinstance) == (ALL, ALL)


def test_the_parts_come_in_the_declared_order():
    key = RunKey(task="t", date=Date(2026, 11, 1), category="c", subinstance="s", planid="p")
    assert key.parts() == ("t", "2026-11-01", "c", "s", "p")
    assert tuple(RunKey.model_fields) == KEY_PARTS


def test_the_document_id_is_a_known_value():
    """A golden value: documents already shipped must be overwritten by a repeat for ever."""
    key = RunKey(task="embed", date=Date(2026, 11, 1), category="shoes", subinstance="0003", planid="p1")
    assert key.document_id() == "e2d3727027e3f1640dbaaffd96003800"


def test_the_document_id_is_the_same_in_another_process():
    code = (
        "from reporting.key import RunKey;"
        "print(RunKey(task='embed', date='2026-11-01', category='鞋', planid='p1').document_id(), end='')"
    )
    runs = {
        subprocess.run(
            [sys.executable, "-c", code], check=True, capture_output=True, text=True, env={"PYTHONHASHSEED": s}
        ).stdout
        for s in ("1", "2")
    }
    assert runs == {make_key(category="鞋").document_id()}


KEYS = st.builds(RunKey, task=NAMES, date=DAYS, category=NAMES, subinstance=NAMES, planid=NAMES)


@given(first=KEYS, second=KEYS)
def test_document_ids_are_equal_exactly_when_keys_are(first, second):
    assert (first.document_id() == second.document_id()) == (first == second)


@given(a=NAMES, b=NAMES, c=NAMES)
def test_shifting_text_from_one_part_to_the_next_changes_the_document_id(a, b, c):
    one = make_key(category=(a + b)[:128].strip(". ") or "x", subinstance=c)
    two = make_key(category=a, subinstance=(b + c)[:128].strip(". ") or "x")
    assert (one.document_id() == two.document_id()) == (one == two)


def test_a_key_cannot_be_changed_and_has_no_other_parts():
    with pytest.raises(ValidationError):
        make_key().task = "other"
    with pytest.raises(ValidationError, match="extra"):
        make_key(colour="red")
