"""What the pages for people say: their code blocks, and the commands they name."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.architecture.source_tree import REPOSITORY

_BLOCK = re.compile(r"^ *```(?P<language>\w*)\n(?P<text>.*?)^ *```$", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"`(?P<text>[^`\n]+)`")
_ENDS = {"&&", "||", "|", ";", "#", ">"}


class Step(NamedTuple):
    """One command of a terminal session, and the lines it is shown to print."""

    command: str
    shown: list[str]


def pages() -> list[Path]:
    return [*sorted(REPOSITORY.glob("*.md")), *sorted((REPOSITORY / "docs").glob("*.md"))]


def blocks(page: Path, language: str) -> list[str]:
    text = page.read_text(encoding="utf-8")
    return [match["text"] for match in _BLOCK.finditer(text) if match["language"] == language]


def session(page: Path) -> list[Step]:
    """Return the steps of a page's terminal sessions (```console blocks)."""
    steps: list[Step] = []
    for text in blocks(page, "console"):
        for line in text.splitlines():
            if line.startswith("$ "):
                steps.append(Step(line[2:], []))
            else:
                steps[-1].shown.append(line)
    return steps


def spoken(page: Path) -> Iterator[str]:
    """Yield everything that a page writes as code: lines of its blocks, and inline code."""
    text = page.read_text(encoding="utf-8")
    for match in _BLOCK.finditer(text):
        yield from match["text"].replace("\\\n", "").splitlines()  # a call over several lines is one
    for match in _INLINE.finditer(_BLOCK.sub("", text)):
        yield match["text"]


def calls(page: Path, program: str) -> Iterator[list[str]]:
    """Yield the words after each call of a program that a page writes as code."""
    for text in spoken(page):
        for match in re.finditer(rf"(?:^|[\s/]){program} (?=[a-z])", text):
            words = shlex.split(text[match.end() :], comments=True)
            end = next((number for number, word in enumerate(words) if word in _ENDS), len(words))
            yield words[:end]


def agrees(shown: list[str], printed: list[str]) -> bool:
    """Tell whether output is as shown: `...` stands for any lines, blanks do not count, measures may differ by 0.02."""
    if not shown:
        return not printed
    if shown[0] == "...":
        return any(agrees(shown[1:], printed[skip:]) for skip in range(len(printed) + 1))
    return bool(printed) and _same(shown[0], printed[0]) and agrees(shown[1:], printed[1:])


def _same(shown: str, printed: str) -> bool:
    pairs = list(zip(shown.split(), printed.split(), strict=False))
    return len(shown.split()) == len(printed.split()) and all(one == other or _near(one, other) for one, other in pairs)


def _near(one: str, other: str) -> bool:
    number = re.compile(r"\d\.\d{3,4}")  # a distance or a rate; counts and shares must be equal
    return bool(number.fullmatch(one) and number.fullmatch(other)) and abs(float(one) - float(other)) <= 0.02
