"""Stored pictures and policies by chance: everything at the edges of windows, marks, delisting and budgets."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import strategies as st

from pipeline.evict.days import day_number
from pipeline.evict.policy import EvictPolicy
from tests.pipeline.evict.live_rows import DAY
from tests.pipeline.evict.stored_rows import Picture

TODAY = day_number(DAY)
PICTURE = st.builds(
    Picture,
    id=st.just(0),
    last_seen=st.one_of(st.integers(-14, 2), st.just(-30)).map(lambda days: TODAY + days),
    groups=st.lists(st.integers(0, 6), min_size=1, max_size=2, unique=True).map(tuple),
    value=st.sampled_from((0.0, 0.5)),
    pinned=st.sampled_from((False, False, False, True)),
    taken_down=st.sampled_from((False, False, False, True)),
    indexed=st.sampled_from((True, True, False)),
    gone_since=st.one_of(st.none(), st.none(), st.integers(-6, 6).map(lambda days: TODAY + days)),
    marked_on=st.sampled_from((None, None, TODAY - 1)),
    category=st.sampled_from(("shoes", "hats")),
)
POLICIES = st.builds(
    lambda window, least, more, delist, budget: EvictPolicy(
        window_days=window,
        min_per_group=least,
        max_per_group=least + more,
        delist_days=delist,
        tail_budget={"shoes": budget},
    ),
    st.integers(1, 12),
    st.integers(1, 3),
    st.integers(0, 2),
    st.integers(0, 3),
    st.one_of(st.none(), st.integers(2, 6)),
)
PICTURES_DRAWN = st.lists(PICTURE, max_size=24).map(
    lambda drawn: [replace(one, id=place) for place, one in enumerate(drawn)]
)
