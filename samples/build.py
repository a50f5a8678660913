"""Build the pictures of the sample pack from three npm packages: a script that a person runs by hand.

It needs ``npm``, and a virtual environment with ``pillow`` and ``resvg-py`` (MPL-2.0; it renders the SVG
files; nothing that funnelgate installs depends on it)::

    python -m venv /tmp/pack && /tmp/pack/bin/pip install pillow resvg-py
    /tmp/pack/bin/python samples/build.py --packages /tmp/pack-npm

``items.csv`` is the list of items: edit it to choose others. The script stops, without having written
anything, when a package is not the pinned one or an item is missing in one of the looks. It rewrites
``pictures/`` as a whole and prints the size of every look.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import io
import json
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

SIDE = 192  # pixels; with three looks of each item the pack stays under 5 MB
MAX_BYTES = 5_000_000


@dataclass(frozen=True, slots=True)
class Package:
    """One npm package: its pinned version and the SHA-256 of the file that ``npm pack`` writes."""

    look: str
    name: str
    version: str
    sha256: str

    @property
    def file_name(self) -> str:
        """The name that ``npm pack`` gives the file."""
        return f"{self.name.removeprefix('@').replace('/', '-')}-{self.version}.tgz"


PACKAGES = (
    Package(
        "noto",
        "@iconify-json/noto",
        "1.2.9",
        "3e918d88fc945c0bb3d468dbace6f88caef67f01c9f0e7bcae0915a042e8f1ad",
    ),
    Package(
        "twemoji",
        "@iconify-json/twemoji",
        "1.2.5",
        "19046dff7d8707ce96212ec86468b36ac5f8e60409629dd13f809265c6d0ebb7",
    ),
    Package(
        "fluent",
        "@lobehub/fluent-emoji-3d",
        "1.1.0",
        "c1bb7eee7de090205a232518a9ab4adb3df458bfbe8a1f78232991194c8b2e58",
    ),
)

Draw = Callable[[str], Image.Image | None]


def fetch(package: Package, folder: Path) -> tarfile.TarFile:
    """Open the package's file in ``folder``, after an ``npm pack`` when it is not there yet.

    Raises:
        SystemExit: the file's SHA-256 is not the pinned one.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / package.file_name
    if not path.exists():
        subprocess.run(["npm", "pack", f"{package.name}@{package.version}"], cwd=folder, check=True)
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != package.sha256:
        sys.exit(f"{path}: SHA-256 is {found}, expected {package.sha256}; remove the file and try again")
    return tarfile.open(path)


def read_json(archive: tarfile.TarFile, name: str) -> dict[str, Any]:
    """Return the JSON object ``name`` of an npm archive."""
    member = archive.extractfile(f"package/{name}")
    assert member is not None, name
    loaded: dict[str, Any] = json.load(member)
    return loaded


def squared(picture: Image.Image) -> Image.Image:
    """Centre a picture whose long side is ``SIDE`` on a transparent square: some drawings are not square."""
    square = Image.new("RGBA", (SIDE, SIDE), (0, 0, 0, 0))
    square.paste(picture, ((SIDE - picture.width) // 2, (SIDE - picture.height) // 2))
    return square


def svg_look(archive: tarfile.TarFile) -> Draw:
    """Return a function that renders the SVG of a codepoint, or returns None where the set has none."""
    import resvg_py

    icons, chars = read_json(archive, "icons.json"), read_json(archive, "chars.json")

    def draw(item: str) -> Image.Image | None:
        name = chars.get(item)
        name = icons["aliases"].get(name, {}).get("parent", name)
        icon = icons["icons"].get(name)
        if icon is None:
            return None
        width = icon.get("width", icons["width"])
        height = icon.get("height", icons["height"])
        svg = (
            f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
            f'viewBox="{icon.get("left", 0)} {icon.get("top", 0)} {width} {height}">{icon["body"]}</svg>'
        )
        png = resvg_py.svg_to_bytes(svg_string=svg, width=SIDE, height=SIDE, skip_system_fonts=True)
        return squared(Image.open(io.BytesIO(bytes(png))).convert("RGBA"))

    return draw


def picture_look(archive: tarfile.TarFile) -> Draw:
    """Return a function that reads the ready picture of a codepoint and scales it to ``SIDE``."""
    names = set(archive.getnames())

    def draw(item: str) -> Image.Image | None:
        name = f"package/assets/{item}.webp"
        if name not in names:
            return None
        member = archive.extractfile(name)
        assert member is not None, name
        with Image.open(io.BytesIO(member.read())) as picture:
            return picture.convert("RGBA").resize((SIDE, SIDE), Image.Resampling.LANCZOS)

    return draw


def encode(picture: Image.Image, *, look: str, rank: int) -> tuple[str, bytes]:
    """Return the file ending and the bytes of one picture.

    The formats are mixed on purpose, so that whoever reads the pack meets palettes and alpha channels:
    the drawn looks are palette PNG with transparency in three files of four and WebP in the fourth.
    """
    buffer = io.BytesIO()
    if look == "fluent" or rank % 4 == 0:
        picture.save(buffer, "WEBP", quality=82, alpha_quality=90, method=6)
        return "webp", buffer.getvalue()
    palette = picture.quantize(128, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    palette.save(buffer, "PNG", optimize=True)
    return "png", buffer.getvalue()


def draw_all(items: list[str], packages: Path) -> dict[str, bytes]:
    """Return the bytes of every picture by its path under ``pictures/``.

    Raises:
        SystemExit: an item is missing in a look; the message lists all that are.
    """
    files: dict[str, bytes] = {}
    missing: list[str] = []
    for package in PACKAGES:
        with fetch(package, packages) as archive:
            draw = picture_look(archive) if package.look == "fluent" else svg_look(archive)
            for rank, item in enumerate(items):
                picture = draw(item)
                if picture is None:
                    missing.append(f"{package.look}/{item}")
                    continue
                ending, body = encode(picture, look=package.look, rank=rank)
                files[f"{package.look}/{item}.{ending}"] = body
    if missing:
        sys.exit(f"items.csv: not in every look: {', '.join(missing)}; remove these items from the list")
    return files


def main() -> None:
    """Parse the command line and rebuild ``pictures/``."""
    here = Path(__file__).resolve().parent
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--items", type=Path, default=here / "items.csv", help="the list of items")
    parser.add_argument("--packages", type=Path, required=True, help="folder of the npm package files")
    parser.add_argument("--out", type=Path, default=here / "pictures", help="folder that is rewritten")
    arguments = parser.parse_args()
    with arguments.items.open(newline="", encoding="utf-8") as lines:
        items = [row["item"] for row in csv.DictReader(lines)]
    if len(set(items)) != len(items):
        sys.exit(f"{arguments.items}: an item is listed twice; keep one line of each")
    files = draw_all(items, arguments.packages)
    total = sum(map(len, files.values()))
    if total > MAX_BYTES:
        sys.exit(f"the pack would take {total} bytes, {MAX_BYTES} are allowed; list fewer items")
    shutil.rmtree(arguments.out, ignore_errors=True)
    for name, body in files.items():
        path = arguments.out / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)
    for package in PACKAGES:
        sizes = [len(body) for name, body in files.items() if name.startswith(f"{package.look}/")]
        print(f"{package.look}: {len(sizes)} pictures, {sum(sizes)} bytes")
    print(f"in all: {len(files)} pictures, {total} bytes")


if __name__ == "__main__":
    main()
