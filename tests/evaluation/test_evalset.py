"""Labelled sets: what is accepted, what is refused with file and line, and what the hash covers."""

from __future__ import annotations

import hashlib

import pytest

from evaluation.catalog import CatalogImage, catalog_of
from evaluation.evalset import load_evalset, require_known_groups
from reporting.errors import DataError

GOOD = "path,group,category\na.jpg,g1,shoes\nsub/b.jpg,g2,hats\n"


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "a.jpg").write_bytes(b"picture a")
    (tmp_path / "sub" / "b.jpg").write_bytes(b"picture b")
    return tmp_path


def load(folder, text: str | bytes):
    source = folder / "labels.csv"
    source.write_bytes(text.encode() if isinstance(text, str) else text)
    return load_evalset(source)


def test_queries_carry_label_hash_and_line(folder):
    evalset = load(folder, GOOD)
    first, second = evalset.queries
    assert (evalset.name, first.group, second.category, second.line) == ("labels", "g1", "hats", 3)
    assert first.sha256 == hashlib.sha256(b"picture a").hexdigest()
    assert evalset.picture(second) == b"picture b"


def test_column_order_byte_order_mark_blank_lines_and_row_order_do_not_change_the_content(folder):
    plain = load(folder, GOOD)
    turned = load(folder, "\ufeffgroup,category,path\r\ng2, hats,sub/b.jpg\r\n\r\ng1,shoes,a.jpg\r\n")
    assert turned.sha256 == plain.sha256
    assert [query.path for query in turned.queries] == ["sub/b.jpg", "a.jpg"]


def test_another_label_or_another_picture_changes_the_hash_but_a_moved_file_does_not(folder):
    plain = load(folder, GOOD).sha256
    assert load(folder, GOOD.replace("g1", "g3")).sha256 != plain
    (folder / "a.jpg").rename(folder / "c.jpg")
    assert load(folder, GOOD.replace("a.jpg", "c.jpg")).sha256 == plain
    (folder / "c.jpg").write_bytes(b"picture c")
    assert load(folder, GOOD.replace("a.jpg", "c.jpg")).sha256 != plain


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"labels.csv:1: is empty; expected the header path,group,category"),
        ("path,group,category\n", r"labels.csv: holds no query"),
        ("path,group\na.jpg,g1\n", r"labels.csv:1: column category is missing"),
        ("path,group,catgory\n", r"labels.csv:1: unknown or repeated column 'catgory'; did you mean category\?"),
        ("path,path,group,category\n", r"labels.csv:1: unknown or repeated column 'path'"),
        (GOOD + "a.jpg,g1\n", r"labels.csv:4: has 2 fields, expected 3"),
        (GOOD + "c.jpg,,hats\n", r"labels.csv:4: group is empty"),
        (GOOD + "gone.jpg,g1,hats\n", r"labels.csv:4: picture 'gone.jpg' cannot be read: .*No such file"),
        (GOOD + "a.jpg,g3,hats\n", r"labels.csv:4: a.jpg is the picture of line 2 again"),
        (GOOD + "../a.jpg,g3,hats\n", r"labels.csv:4: ../a.jpg lies outside"),
        (GOOD + "/etc/hostname,g3,hats\n", r"labels.csv:4: /etc/hostname lies outside"),
        (GOOD + "sub,g3,hats\n", r"labels.csv:4: picture 'sub' cannot be read: .*Is a directory"),
        (GOOD + "a\0.jpg,g3,hats\n", r"labels.csv:4: "),
        (GOOD + '"a.jpg,g3,hats\n', r"labels.csv:4: is no CSV"),
        (b"path,group,category\n\xff,g,c\n", r"labels.csv: is not UTF-8"),
    ],
)
def test_a_bad_file_is_refused_with_file_and_line(folder, text, message):
    with pytest.raises(DataError, match=message):
        load(folder, text)


def test_a_missing_file_and_a_link_out_of_the_root_are_refused(folder):
    with pytest.raises(DataError, match=r"none.csv: does not exist"):
        load_evalset(folder / "none.csv")
    (folder / "sub" / "out.jpg").symlink_to("/etc/hostname")
    with pytest.raises(DataError, match=r"labels.csv:2: sub/out.jpg lies outside"):
        load(folder, "path,group,category\nsub/out.jpg,g,c\n")


def test_pictures_may_lie_under_a_root_of_their_own(folder):
    source = folder / "sub" / "labels.csv"
    source.write_text(GOOD)
    assert len(load_evalset(source, root=folder).queries) == 2


def test_a_picture_that_changed_after_loading_is_noticed(folder):
    evalset = load(folder, GOOD)
    (folder / "a.jpg").write_bytes(b"other")
    with pytest.raises(DataError, match=r"labels.csv:2: a.jpg has changed"):
        evalset.picture(evalset.queries[0])


def test_a_label_for_no_group_of_the_catalogue_is_refused(folder):
    evalset = load(folder, GOOD)
    require_known_groups(evalset, catalog_of([CatalogImage("g1", "x"), CatalogImage("g2", "y", 3)]))
    with pytest.raises(DataError, match=r"labels.csv:3: 1 of 2 labels .* first 'g2'; did you mean g22\?"):
        require_known_groups(evalset, catalog_of([CatalogImage("g1", "x"), CatalogImage("g22", "y")]))
