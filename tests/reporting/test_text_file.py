"""A file of text is there whole, or is as it was."""

from __future__ import annotations

from pathlib import Path

import pytest

from reporting.errors import StoreError
from reporting.text_file import replace_text


def test_a_file_is_replaced_in_folders_that_are_made_and_nothing_else_is_left(tmp_path: Path):
    path = tmp_path / "a" / "b" / "page.html"
    for text in ("old, and longer than what comes", "新"):
        replace_text(path, text, "name another")
        assert path.read_bytes() == text.encode("utf-8")
    assert list(path.parent.iterdir()) == [path]


def test_where_the_disk_refuses_the_old_text_stays_and_the_error_says_what_to_do(tmp_path: Path):
    path = tmp_path / "page.html"
    path.write_text("old")
    (tmp_path / ".page.html.tmp").mkdir()
    with pytest.raises(
        StoreError, match=r"page\.html: cannot be written: Is a directory; name another file by --html$"
    ):
        replace_text(path, "new", "name another file by --html")
    assert path.read_text() == "old"


def test_a_folder_that_cannot_be_made_is_told_likewise(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"page\.html: cannot be written: File exists; name another$"):
        replace_text(tmp_path / "file" / "page.html", "new", "name another")
