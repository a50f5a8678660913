"""A comparison as one HTML page that needs nothing from outside."""

from __future__ import annotations

from pathlib import Path

from evaluation.compare import Comparison
from evaluation.comparing.plot import differences_plot, metrics_plot

SLICES_SHOWN = 15


def page(found: Comparison) -> str:
    """Return the page: metrics, differences and slices as dots with intervals, the questions that flipped."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    most = [one for one in found.slices if one.won or one.lost][:SLICES_SHOWN]
    return environment.get_template("page.html.j2").render(
        found=found,
        metrics=metrics_plot(found),
        differences=differences_plot(found.pairs, [one.metric for one in found.pairs]),
        slices=differences_plot(most, [one.slice for one in most]),
    )
