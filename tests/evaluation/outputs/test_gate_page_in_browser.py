"""The page in a real browser: nothing overflows a phone, and it can be read in the dark too."""

from __future__ import annotations

import html
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from evaluation.outputs.folder import Evidence
from evaluation.outputs.page import page_bytes
from evaluation.system import View
from tests.evaluation.report_world import bad_candidate, small_set, system, verdict_of
from tests.pipeline.test_contact_sheet import chromium

pytestmark = [pytest.mark.slow, pytest.mark.chromium]
POLICY = re.compile(r'<meta http-equiv="Content-Security-Policy"[^>]*>')
# A window is never narrower than 500 px; a frame is.
FRAME = """<body style="margin:0"><iframe id="f" style="border:0;width:{width}px;height:900px"></iframe><script>
const frame = document.getElementById("f");
frame.srcdoc = {page};
frame.onload = () => {{
  const inside = frame.contentDocument, root = inside.documentElement;
  inside.querySelectorAll("details").forEach(one => one.open = true);
  const wide = [...inside.querySelectorAll("body *")].filter(one => one.getBoundingClientRect().right > {width} + 1);
  const texts = [...inside.querySelectorAll("body *")].filter(one => [...one.childNodes].some(
    node => node.nodeType === 3 && node.textContent.trim()) && one.getClientRects().length);
  const sizes = texts.map(one => parseFloat(getComputedStyle(one).fontSize));
  const told = {{scroll: root.scrollWidth, wide: wide.map(one => one.tagName + "." + one.className.toString()),
    smallest: Math.min(...sizes), thumbs: inside.querySelectorAll(".thumb:not(.none)").length}};
  document.body.innerHTML = "<pre>" + JSON.stringify(told) + "</pre>";
}};
</script>"""


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page")
    for name in [f"q{n}" for n in range(8)] + [f"{n}-{copy}" for n in range(8) for copy in range(2)]:
        Image.new("RGB", (200, 300), "teal").save(folder / f"{name}.png")
    evalset = small_set(root=folder, hostile=True)
    candidate, release = bad_candidate(evalset), system(evalset, {View.SERVED: {}}, name="old")
    evidence = Evidence(verdict_of(evalset, candidate, release), evalset, candidate, {"release": release})
    (folder / "report.html").write_bytes(page_bytes(evidence))
    return folder / "report.html"


def seen(report: Path, width: int) -> Any:
    """Return what a browser lays out of the page in a frame of some width, everything unfolded."""
    text = POLICY.sub("", report.read_text(encoding="utf-8"))
    probe = report.with_name(f"probe{width}.html")
    probe.write_text(FRAME.format(width=width, page=json.dumps(text).replace("</", "<\\/")), encoding="utf-8")
    dom = chromium(probe, "--dump-dom", "--window-size=1400,1000", "--virtual-time-budget=3000")
    return json.loads(html.unescape(re.findall(r"<pre>(.*?)</pre>", dom, re.DOTALL)[0]))


@pytest.mark.parametrize("width", [360, 1280])
def test_nothing_overflows_and_no_text_is_tiny(report: Path, width: int) -> None:
    found = seen(report, width)
    assert found["wide"] == []
    assert found["scroll"] <= width
    assert found["smallest"] >= 11
    assert found["thumbs"] > 10


@pytest.mark.parametrize(("scheme", "dark"), [(1, False), (0, True)], ids=["light", "dark"])
def test_the_page_follows_the_readers_colours(report: Path, scheme: int, dark: bool) -> None:
    shot = report.with_suffix(".png")
    chromium(
        report, f"--screenshot={shot}", "--window-size=1200,900", f"--blink-settings=preferredColorScheme={scheme}"
    )
    with Image.open(shot) as opened:
        pixels = np.asarray(opened.convert("L"), np.float64)
    background = np.median(pixels)
    assert (background < 60) == dark
    heading = pixels[20:80, 40:600]
    assert abs(np.percentile(heading, 95 if dark else 5) - background) > 120  # it can be read
