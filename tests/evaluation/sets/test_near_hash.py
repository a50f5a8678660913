"""`build-set` on folders named from where one stands, with the root's own perceptual hash."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image

from tests.pipeline.squares import squares

Main = Callable[..., Any]
BUILD = ("evaluate", "build-set", "queries", "--gallery-from", "gallery", "--distractors", "others", "--name", "near")
DOMAINS = ("--query-domain", "phones", "--gallery-domain", "studio", "--out", "sets")


def saved(picture: Image.Image, path: Path, quality: int = 95) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    data = io.BytesIO()
    picture.save(data, "JPEG", quality=quality)
    path.write_bytes(data.getvalue())


def test_folders_named_from_here_are_read_and_a_picture_saved_again_is_leakage(tmp_path: Path, main_in: Main) -> None:
    saved(squares(1, {}), tmp_path / "queries/shoes/g1/q.jpg", quality=60)
    saved(squares(2, {}), tmp_path / "gallery/shoes/g1/i.jpg")
    saved(squares(3, {}), tmp_path / "others/noise/n.jpg")
    saved(squares(4, {}), tmp_path / "others/same_style/s.jpg")
    clean = main_in(tmp_path, *BUILD, *DOMAINS)
    assert (clean.code, clean.err) == (0, ""), clean.err
    saved(squares(1, {}), tmp_path / "gallery/shoes/g1/again.jpg")
    leaking = main_in(tmp_path, *BUILD, *DOMAINS)
    assert leaking.code == 2
    assert "near_leakage" in leaking.err
    assert len(list((tmp_path / "sets").iterdir())) == 1
