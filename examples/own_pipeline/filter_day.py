"""A pipeline of your own in Python: one task that filters words, and keeps books of each of them.

    python filter_day.py WORDS.txt 2026-11-01 SPOOL_FOLDER [https://elasticsearch:9200]

Without a URL the records stay in the spool, until a recorder or a shipper with one works on it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

from reporting import Recorder
from reporting.booking import Booking


def sift(books: Booking, words: Iterable[str]) -> list[str]:
    """Return the words of three letters or more, each once; book every line."""
    kept: dict[str, None] = {}
    for number, word in enumerate(words, 1):
        line = f"{number}:{word}"  # ids are for the digest: equal lines are different items
        books.take([line])
        if not word:
            books.drop("empty", [line])
        elif len(word) < 3:
            books.drop("too_short", [line])
        elif word in kept:
            books.drop("duplicate", [line])
        else:
            kept[word] = None
            books.keep([line])
    return list(kept)


def main(words: str, date: str, spool: str, url: str | None = None) -> None:
    """Filter one day's words."""
    with Recorder.to_spool(spool) if url is None else Recorder.to_elasticsearch(url, spool) as recorder:

        @recorder.booked(task="filter", date=date, planid=f"nightly-{date}")
        def filter_day(books: Booking, path: Path) -> list[str]:
            return sift(books, path.read_text(encoding="utf-8").splitlines())

        kept = filter_day(Path(words))
    print(f"kept {len(kept)} words")


if __name__ == "__main__":
    main(*sys.argv[1:])
