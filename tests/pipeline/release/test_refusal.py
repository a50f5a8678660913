"""Why a release is refused: in a message that a person reads to its end."""

from __future__ import annotations

from typing import Any

from pipeline.tasks.release import SHOWN, why_not
from reporting.testing import MOMENT
from reporting.verdict import Outcome, Verdict


def refused(*rows: dict[str, Any]) -> str:
    return why_not(
        Verdict(
            verdict_id="v",
            date=MOMENT.date(),
            planid="p",
            outcome=Outcome.FAIL,
            inputs={},
            evidence=list(rows),
            decided_at=MOMENT,
        )
    )


def test_what_fails_comes_before_what_is_inconclusive_and_what_passes_is_not_told() -> None:
    rows = [("PASS", "fine"), ("INCONCLUSIVE", "too few"), ("FAIL", "lost"), ("FAIL", "slow")]
    told = refused(*({"decision": decision, "reason": reason} for decision, reason in rows))
    assert told == "lost; slow; too few"


def test_of_many_reasons_the_first_are_told_and_the_others_counted() -> None:
    told = refused(*({"decision": "FAIL", "reason": f"r{number}"} for number in range(SHOWN + 37)))
    assert told == "r0; r1; r2; r3; r4; and 37 more, all of them in the verdict"


def test_a_row_without_a_reason_is_shown_as_it_is_and_none_at_all_is_said() -> None:
    assert refused({"decision": "FAIL", "metric": "x"}) == "{'decision': 'FAIL', 'metric': 'x'}"
    assert refused() == "no evidence"
