"""The two ways in which an answer is written down give the same bytes."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.models.detections import Box
from pipeline.serve.answer import plain_results, results_of
from pipeline.serve.generation import Neighbour
from pipeline.serve.ranking import Ranked
from pipeline.serve.searching import PlainReply, SearchReply

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
DISTANCES = st.floats(0, 2, width=32) | st.sampled_from([0.0, 1e-6, 4e-7, 2.0])
OFFERS = st.fixed_dictionaries({"sku": TEXTS, "merchant": TEXTS, "title": TEXTS}, optional={"group": TEXTS})
CORNERS: st.SearchStrategy[dict[str, int]] = st.just({}) | st.fixed_dictionaries(
    dict.fromkeys(Box._fields, st.integers(0, 9999))
)


@st.composite
def results(draw: st.DrawFn) -> Ranked:
    hits = [
        Neighbour(draw(st.integers(0, 2**63 - 1)), draw(TEXTS), draw(DISTANCES), draw(TEXTS))
        for _ in range(draw(st.integers(1, 3)))
    ]
    row: dict[str, Any] = {"picture": draw(TEXTS), **draw(CORNERS)}
    return Ranked(hits[0], row, hits[0].group, draw(TEXTS), tuple(draw(st.lists(OFFERS, max_size=3))), tuple(hits))


@settings(max_examples=60)
@given(st.lists(results(), max_size=4), st.dictionaries(TEXTS, TEXTS, max_size=2), TEXTS)
def test_the_plain_answer_is_the_checked_one_to_the_byte(
    ranked: list[Ranked], spaces: dict[str, str], reason: str
) -> None:
    plain = PlainReply(7, spaces, None, (), reason, plain_results(ranked))
    checked = SearchReply(
        generation=7, spaces=spaces, object=None, others=[], reason=reason, results=results_of(ranked)
    )
    assert plain.written() == checked.written()
    assert SearchReply.model_validate_json(plain.written()) == checked
