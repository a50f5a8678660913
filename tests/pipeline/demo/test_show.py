"""What the demo ends with, and what it tells of the objects."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from datetime import date as Date
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from pipeline.demo.detection import Drawn, FoundObject, Judged, Report, match
from pipeline.demo.found import tell_detection
from pipeline.demo.show import MIN_RECALL, Shown
from pipeline.models.detections import Box
from reporting.balance import Balance, BalanceRow
from reporting.errors import EXIT_FAILED, EXIT_OK

DAY = Date(2026, 10, 5)


def report(hits: int, of: int) -> Report:
    """Return the report of one picture with `of` items in a row, of which the first `hits` were found."""
    boxes = [Box(20 * at, 0, 20 * at + 10, 10) for at in range(of)]
    drawn = tuple(Drawn("1f355", "food-dish", box) for box in boxes)
    found = tuple(FoundObject(100 + at, box, 0.9, "", "food-dish") for at, box in enumerate(boxes[:hits]))
    picture = Judged(Path("arrivals/pictures/2026-10-05/nh-set-1.jpg"), drawn, found, match(drawn, found))
    return Report({DAY: (picture,)})


def shown(detection: Report, *, unexplained: int = 0, wrong: tuple[str, ...] = ()) -> Shown:
    line = BalanceRow(
        date=DAY,
        planid="daily-20261005",
        input=9,
        output=9,
        dropped=0,
        failed=0,
        unexplained=unexplained,
        missing_leaves=0,
        provisional=False,
    )
    return Shown((DAY,), Balance(rows=[line], residuals=[]), list(wrong), [], detection, None)


def test_the_demo_fails_where_detect_found_too_few_of_the_drawn_items() -> None:
    assert MIN_RECALL == 0.8
    assert shown(report(8, 10)).exit_code == EXIT_OK
    assert shown(report(7, 10)).exit_code == EXIT_FAILED
    assert shown(Report({DAY: ()})).exit_code == EXIT_FAILED
    assert shown(report(9, 10), unexplained=1).exit_code == EXIT_FAILED
    assert shown(report(9, 10), wrong=("detect: ...",)).exit_code == EXIT_FAILED


def test_the_table_of_objects_fits_eighty_columns_and_names_the_largest_set() -> None:
    console = Console(width=80, file=StringIO())
    tell_detection(console, report(3, 4), MIN_RECALL)
    assert isinstance(console.file, StringIO)
    text = console.file.getvalue()
    assert "…" not in text
    [day] = [line.split() for line in text.splitlines() if line.startswith("2026-10-05")]
    assert day[1:] == ["1", "4", "3", "0.750", "3", "1.000", "1.000", "0.000"]
    assert "fewer than 80% of the drawn items were found" in text
    assert "pictures/2026-10-05/nh-set-1.jpg, which shows 4 items" in text
    assert "id 102  box 40,0,50,10  score 0.90  food-dish (is: food-dish)" in text


@pytest.mark.slow
def test_a_day_of_the_demo_finds_the_drawn_items_and_shows_them(tmp_path: Path) -> None:
    line = [sys.executable, "-m", "funnelgate", "demo", "mine", "--days", "1", "--json"]
    done = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == EXIT_OK, done.stderr
    document = json.loads(done.stdout)
    assert document["truth_differs"] == []
    assert {row["unexplained"] for row in document["balance"]} == {0}
    found, truth = document["detection"], json.loads((tmp_path / "mine/arrivals/truth.json").read_text())
    day = found["days"]["2026-10-05"]
    assert day == found["total"]
    assert (
        day["drawn"] == truth["days"]["2026-10-05"]["objects"] == found["trained"]["drawn"] + found["held_out"]["drawn"]
    )
    assert MIN_RECALL <= day["recall"] <= 1
    assert found["photos"]["pictures"] == 63
    assert 0.8 <= found["photos"]["main_object_hit"] <= 1
    assert "Every item is booked, and nothing is missing." in (tmp_path / "mine/page/index.html").read_text()
    reports = list((tmp_path / "mine/lake").rglob("report.html"))
    assert reports
    for report in reports:
        (link,) = re.findall(r'href="([^"]*/gate\.html)#', report.read_text())
        assert (report.parent / link).resolve() == tmp_path / "mine/page/gate.html"
        assert (report.parent / link).is_file()
    page = (tmp_path / "mine/objects.html").read_text()
    assert page.count("<section ") == min(12, truth["days"]["2026-10-05"]["sets"])
    assert "http://" not in page
    assert "https://" not in page
    assert (tmp_path / "mine/search.html").stat().st_size > 50_000
