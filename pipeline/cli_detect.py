"""`detect`: what a detector finds in pictures, to look at and for programs."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.cli_options import JsonOption
from reporting.errors import DataError, StoreError, UsageError

if TYPE_CHECKING:
    from pipeline.models.detections import Detection
    from pipeline.models.detector import Detector, WholePicture

_DRAWN_SIDE = 720
"""Pixels that the shorter side of the drawn picture has at least, where the picture has them."""


def detect(
    pictures: Annotated[list[Path], typer.Argument(help="Picture files.")],
    detector: Annotated[
        str | None, typer.Option(help="Name of a detector, or a model folder (with a slash in it). [scene-detector]")
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all/--main", help="All objects, or each picture's most confident one alone.")
    ] = True,
    out: Annotated[Path | None, typer.Option(help="Also draw the boxes into this PNG file; for one picture.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Find the objects in pictures: their boxes in pixels of the upright picture, scores and categories.

    Example: `funnelgate detect table.jpg --out boxes.png`
    """
    from pipeline.models.catalog import DEFAULT_DETECTOR, open_detector

    if out is not None:
        _refuse_target(out, pictures)
    found = _found(pictures, open_detector(DEFAULT_DETECTOR if detector is None else detector))
    if not everything:
        found = {path: objects[:1] for path, objects in found.items()}
    if out is not None:
        _write(out, _drawn(pictures[0], found[str(pictures[0])]))
    if as_json:
        shown = {path: [_as_json(one) for one in objects] for path, objects in found.items()}
        typer.echo(json.dumps(next(iter(shown.values())) if len(pictures) == 1 else shown, indent=1))
        return
    for path, objects in found.items():
        typer.echo(f"{path}: {len(objects)} object{'' if len(objects) == 1 else 's'}")
        for number, one in enumerate(objects, 1):
            x0, y0, x1, y1 = one.box
            typer.echo(f"{number:3}  {one.score:.3f}  {x0:5} {y0:5} {x1:5} {y1:5}  {one.label}".rstrip())
    if out is not None:
        typer.echo(f"drawn: {out}")


def _found(pictures: Sequence[Path], detector: Detector | WholePicture) -> dict[str, tuple[Detection, ...]]:
    """Return path -> objects; one picture that cannot be read fails the call, before anything is printed."""
    from pipeline.images.decode import DecodeLimits, PictureError

    found = {}
    for path in pictures:
        data = _read(path)
        try:
            (answer,) = detector.detect([data], DecodeLimits())
        except DataError as error:
            raise DataError(f"{path}: {error}") from error
        if isinstance(answer, PictureError):
            raise DataError(f"{path}: {answer}; give a JPEG, PNG, WebP, GIF, BMP or TIFF picture")
        found[str(path)] = answer.objects
    return found


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}; name a picture file") from error


def _as_json(one: Detection) -> dict[str, Any]:
    return {"box": list(one.box), "score": round(one.score, 4), "category": one.label}


def _refuse_target(out: Path, pictures: Sequence[Path]) -> None:
    if len(pictures) > 1:
        raise UsageError(f"--out draws one picture, found {len(pictures)}; call once for each")
    if out.suffix.lower() != ".png":
        raise UsageError(f"{out}: --out writes PNG; name a file that ends in .png")
    if not out.parent.is_dir():
        raise UsageError(f"{out}: the folder {out.parent} is not there; make it first")
    if out.is_dir():
        raise UsageError(f"{out}: is a folder; name a file")
    if out.exists() and out.samefile(pictures[0]):
        raise UsageError(f"{out}: is the picture itself; name another file")


def _drawn(path: Path, objects: Sequence[Detection]) -> bytes:
    from io import BytesIO

    from pipeline.images.decode import DecodeLimits, decode_scaled
    from pipeline.images.draw_boxes import draw_boxes

    buffer = BytesIO()
    draw_boxes(decode_scaled(_read(path), min_side=_DRAWN_SIDE, limits=DecodeLimits()), objects).save(buffer, "PNG")
    return buffer.getvalue()


def _write(out: Path, data: bytes) -> None:
    """Write a file that is either whole or not there."""
    temporary = out.with_name(f".{out.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(data)
        temporary.replace(out)
    except OSError as error:
        raise StoreError(f"{out}: cannot be written: {error.strerror or error}; nothing was left there") from error
    finally:
        temporary.unlink(missing_ok=True)
