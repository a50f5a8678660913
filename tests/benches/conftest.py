"""Print what the benchmarks found as a table: the figures are ratios in `extra_info`, not wall times."""

from __future__ import annotations

from typing import Any

import pytest


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Write one Markdown row a figure; docs/benchmarks.md is this table."""
    session: Any = getattr(config, "_benchmarksession", None)
    measured = [bench for bench in getattr(session, "benchmarks", []) if bench.extra_info]
    if not measured:
        return
    terminalreporter.write_line("\n| benchmark | figure | value |\n|---|---|---|")
    for bench in measured:
        name = bench.name.removeprefix("test_").replace("_", " ")
        for figure, value in bench.extra_info.items():
            terminalreporter.write_line(f"| {name} | {figure.replace('_', ' ')} | {value} |")
