"""Every metric that `/metrics` gives: name, help and labels. All are gauges, true at the moment of the scrape.

Units are in the names: items, leaves, seconds, ratio (0..1), rows, entries. A time is a Unix timestamp, so that it
stays true in a file: its age is `time() - metric`. Tasks and reasons are those of the task graph, categories and
severities few: no label takes a value that grows with the data. `date` has `web.metrics_days` values.
"""

from __future__ import annotations

from typing import NamedTuple

LEAF_STATES = ("expected", "done", "missing")
SEVERITIES = ("page", "warn")
OUTCOMES = ("PASS", "FAIL", "INCONCLUSIVE")
QUEUE_STATES = ("waiting", "ready", "running", "failed")
WINDOW_PARTS = ("window", "tail")
PARTS = ("books", "incidents", "gate", "release", "window", "outbox", "queue")
"""What is read apart: one that fails takes nothing from the others."""
OTHER = "(other)"
"""Stands for drop reasons that the task graph no longer has, and for categories beyond the first 200."""


class Family(NamedTuple):
    """One metric."""

    name: str
    help: str
    labels: tuple[str, ...] = ()


class Figure(NamedTuple):
    """One value of a metric; its name without `funnelgate_`, its labels in the order of the family."""

    name: str
    value: float
    labels: tuple[str, ...] = ()


_TASK = ("task",)
_DAY = ("date", "task")

FAMILIES = tuple(
    Family(f"funnelgate_{name}", text, labels)
    for name, text, labels in (
        ("day_timestamp_seconds", "Begin in UTC of the newest day that has a plan.", ()),
        ("task_input_items", "Newest day: items taken in.", _TASK),
        ("task_output_items", "Newest day: items kept, in the unit of the input.", _TASK),
        ("task_produced_items", "Newest day: items handed on, in the unit of the output.", _TASK),
        ("task_dropped_items", "Newest day: items dropped.", ("task", "reason")),
        ("task_failed_items", "Newest day: items failed.", _TASK),
        ("task_kept_ratio", "Newest day: output / input; absent where nothing came in.", _TASK),
        ("task_leaves", "Newest day: leaves the manifest expects, and of these with and without a record.",
         ("task", "state")),
        ("task_unexplained_items", "Newest day: items no book explains, in the task and on relations into it.", _TASK),
        ("task_work_seconds", "Newest day: seconds of all leaves together.", _TASK),
        ("task_items_per_second", "Newest day: input / seconds of work; absent where no time was booked.", _TASK),
        ("task_last_record_timestamp_seconds", "When the last record of the two newest days was booked.", _TASK),
        ("day_input_items", "Items taken in.", _DAY),
        ("day_output_items", "Items kept, in the unit of the input.", _DAY),
        ("day_produced_items", "Items handed on, in the unit of the output.", _DAY),
        ("day_dropped_items", "Items dropped.", ("date", "task", "reason")),
        ("day_failed_items", "Items failed.", _DAY),
        ("day_kept_ratio", "Output / input; absent where nothing came in.", _DAY),
        ("day_leaves", "Leaves with a record.", _DAY),
        ("day_work_seconds", "Seconds of all leaves together.", _DAY),
        ("day_items_per_second", "Input / seconds of work; absent where no time was booked.", _DAY),
        ("day_unexplained_items", "Items no book explains, of the two newest days.", ("date",)),
        ("day_missing_leaves", "Expected leaves without a record, of the two newest days.", ("date",)),
        ("incidents_open", "Open incidents.", ("severity",)),
        ("gate_verdict", "1: the outcome of the last verdict of the last 90 days.", ("outcome",)),
        ("gate_verdict_timestamp_seconds", "When it was decided.", ()),
        ("gate_hit_at_10_ratio", "Its hit@10: queries whose product is among the first ten.", ()),
        ("release_number", "The release that serves; 0: none.", ()),
        ("release_timestamp_seconds", "When it was made.", ()),
        ("release_rows", "Its rows.", ()),
        ("window_rows", "Rows of the release by category: days of the window, and the tail before it.",
         ("category", "part")),
        ("outbox_waiting_entries", "Documents that wait to be shipped to Elasticsearch.", ()),
        ("outbox_oldest_age_seconds", "Since when the oldest of them waits; 0: none does.", ()),
        ("outbox_quarantined_entries", "Documents that Elasticsearch refused for good.", ()),
        ("queue_units", "Units of work that are not done.", ("state",)),
        ("queue_expired_leases", "Of those running, those whose worker has let its lease run out.", ()),
        ("part_readable", "1: this part of the metrics could be read; 0: its figures are absent.", ("part",)),
        ("collect_seconds", "How long reading all of this took.", ()),
    )
)  # fmt: skip
