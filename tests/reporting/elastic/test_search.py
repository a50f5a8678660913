"""Reading page by page: every document and every group once, whatever happens to the indices meanwhile."""

from __future__ import annotations

import random
from collections import Counter
from contextlib import closing
from datetime import date as Date
from datetime import timedelta

import pytest
from elasticsearch import Elasticsearch
from hypothesis import given
from hypothesis import strategies as st

from reporting.elastic.client import connect
from reporting.elastic.names import Kind, index_of
from reporting.elastic.search import MAX_TERMS, all_of, any_of, buckets, fetch, indices_between, pages, point_in_time
from reporting.errors import FunnelgateError, StoreError
from reporting.settings import ElasticSettings
from tests.servers.ports import free_port
from tests.servers.rest import call

EVERYTHING = all_of([])
MAPPINGS = {"properties": {"colour": {"type": "keyword"}, "day": {"type": "date"}, "n": {"type": "long"}}}
DAY_MS = 86_400_000


@pytest.fixture
def client(elastic_url: str):
    with closing(connect(ElasticSettings(url=elastic_url))) as found:
        yield found


@pytest.fixture
def index(client: Elasticsearch, elastic_prefix: str) -> str:
    """An empty index."""
    return make_index(client, f"{elastic_prefix}-a")


def make_index(client: Elasticsearch, name: str) -> str:
    settings = {"refresh_interval": "-1", "number_of_replicas": 0}
    client.indices.create(index=name, mappings=MAPPINGS, settings=settings)
    return name


def add(client, index, sources, *, first=0, refresh=True):
    lines = []
    for number, source in enumerate(sources, start=first):
        lines += [{"create": {"_index": index, "_id": f"{number}"}}, source]
    if lines:
        assert not client.bulk(operations=lines, refresh=refresh)["errors"]


def numbers(found):
    return [hit["_source"]["n"] for page in found for hit in page]


def open_points(base):
    """Return how many states of indices a node holds."""
    _, answer = call(base, "GET", "/_nodes/stats/indices/search")
    return sum(node["indices"]["search"]["open_contexts"] for node in answer["nodes"].values())


@pytest.mark.elasticsearch
def test_pages_of_any_size_hold_every_document_once(client, index):
    add(client, index, [{"n": n} for n in range(12)])
    for size in (1, 4, 5, 11, 12, 13):
        found = list(pages(client, [index], EVERYTHING, size=size))
        assert sorted(numbers(found)) == list(range(12)), size
        assert all(len(page) == size for page in found[:-1]), size
    assert list(pages(client, [index], any_of("n", [99]))) == []


@pytest.mark.elasticsearch
def test_a_sorted_reading_keeps_its_order_over_pages_and_indices(client, index, elastic_prefix):
    other = make_index(client, f"{elastic_prefix}-b")
    values = random.Random(1).sample(range(1000), 30)
    add(client, index, [{"n": n} for n in values[:17]])
    add(client, other, [{"n": n} for n in values[17:]])
    assert numbers(pages(client, [index, other], EVERYTHING, sort="n", size=4)) == sorted(values)
    # `_seq_no` is the order of arrival within one index
    assert numbers(pages(client, [index], EVERYTHING, sort="_seq_no", size=4)) == values[:17]


@pytest.mark.elasticsearch
def test_what_is_written_while_pages_are_read_is_not_seen(client, index):
    add(client, index, [{"n": n} for n in range(10)])
    reading = pages(client, [index], EVERYTHING, size=3)
    first = next(reading)
    add(client, index, [{"n": n} for n in range(10, 30)], first=10)
    for number in range(5, 10):
        client.delete(index=index, id=str(number))
    client.indices.refresh(index=index)
    assert sorted(numbers([first, *reading])) == list(range(10))
    assert sorted(numbers(pages(client, [index], EVERYTHING))) == [*range(5), *range(10, 30)]


@pytest.mark.elasticsearch
def test_groups_written_while_groups_are_read_are_not_seen(client, index):
    add(client, index, [{"colour": f"c{n}", "n": n} for n in range(10)])
    reading = buckets(client, [index], EVERYTHING, ["colour"], ["n"], size=4)
    first = next(reading)
    add(client, index, [{"colour": f"c{n % 10}", "n": 100} for n in range(20)], first=10)
    assert {bucket.key: bucket.sums for bucket in [first, *reading]} == {(f"c{n}",): (float(n),) for n in range(10)}


@pytest.mark.elasticsearch
def test_groups_and_sums_over_any_page_size_equal_a_count_by_hand(client, index):
    chance = random.Random(2)
    colours, days = "rgbé鞋", ("2026-10-31", "2026-11-01")
    rows = [(chance.choice(days), chance.choice(colours), chance.randrange(2**40)) for _ in range(200)]
    add(client, index, [{"day": day, "colour": colour, "n": n} for day, colour, n in rows])
    base = Date(1970, 1, 1)
    keyed = [(((Date.fromisoformat(day) - base).days * DAY_MS, colour), n) for day, colour, n in rows]
    counts = Counter(key for key, _ in keyed)
    sums: Counter[tuple[int, str]] = Counter()
    for key, n in keyed:
        sums[key] += n
    for size in (1, 3, len(counts) - 1, len(counts), len(counts) + 1):
        found = list(buckets(client, [index], EVERYTHING, ["day", "colour"], ["n"], size=size))
        assert len(found) == len(counts)
        assert {bucket.key: bucket.documents for bucket in found} == counts
        assert {bucket.key: bucket.sums[0] for bucket in found} == sums
    (whole,) = buckets(client, [index], EVERYTHING, [], ["n"])
    assert (whole.key, whole.documents, whole.sums) == ((), 200, (float(sum(sums.values())),))


@pytest.mark.elasticsearch
def test_indices_that_are_not_there_are_empty(client, elastic_prefix):
    for names in ([f"{elastic_prefix}-missing"], [f"{elastic_prefix}-records-*"]):
        assert list(pages(client, names, EVERYTHING)) == []
        assert list(buckets(client, names, EVERYTHING, ["colour"], ["n"])) == []
        assert list(buckets(client, names, EVERYTHING, [], ["n"])) == []


@pytest.mark.elasticsearch
def test_a_state_is_let_go_when_read_to_its_end_left_early_or_broken_off(client, index, elastic_url):
    add(client, index, [{"n": n} for n in range(10)])
    before = open_points(elastic_url)
    list(pages(client, [index], EVERYTHING, size=3))
    assert open_points(elastic_url) == before

    reading = pages(client, [index], EVERYTHING, size=3)
    next(reading)
    assert open_points(elastic_url) == before + 1  # else the rest shows nothing
    reading.close()
    assert open_points(elastic_url) == before

    with pytest.raises(StoreError, match=r"HTTP 400"):
        list(buckets(client, [index], EVERYTHING, ["colour"], size=70_000))
    assert open_points(elastic_url) == before
    with pytest.raises(KeyboardInterrupt), point_in_time(client, [index]):
        raise KeyboardInterrupt
    assert open_points(elastic_url) == before


@pytest.mark.elasticsearch
def test_a_part_of_the_indices_that_cannot_be_read_is_an_error_and_not_a_smaller_sum(client, index, elastic_prefix):
    add(client, index, [{"n": 1}])
    lost = f"{elastic_prefix}-lost"
    nowhere = {"index.routing.allocation.require._name": "no-such-node"}
    client.indices.create(index=lost, settings=nowhere, wait_for_active_shards=0)
    with pytest.raises(StoreError) as raised:
        list(buckets(client, [index, lost], EVERYTHING, [], ["n"]))
    assert "\n" not in str(raised.value)
    with pytest.raises(StoreError):
        list(pages(client, [index, lost], EVERYTHING))


@pytest.mark.elasticsearch
def test_an_index_that_goes_between_two_pages_is_an_error_and_not_a_smaller_sum(client, index, elastic_prefix):
    other = make_index(client, f"{elastic_prefix}-b")
    for name in (index, other):
        add(client, name, [{"n": n, "colour": f"c{n}"} for n in range(10)])
    reading, grouping = (
        pages(client, [index, other], EVERYTHING, size=4),
        buckets(client, [index, other], EVERYTHING, ["colour"], ["n"], size=4),
    )
    next(reading)
    next(grouping)
    client.indices.delete(index=other)
    for rest in (reading, grouping):
        with pytest.raises(FunnelgateError, match="no such index"):
            list(rest)


@pytest.mark.elasticsearch
def test_more_values_than_the_server_takes_in_one_clause_are_split(client, index):
    add(client, index, [{"n": n} for n in (0, 1, MAX_TERMS, 2 * MAX_TERMS, 2 * MAX_TERMS + 7)])
    wanted = any_of("n", range(1, 2 * MAX_TERMS + 1))
    assert sorted(numbers(pages(client, [index], wanted))) == [1, MAX_TERMS, 2 * MAX_TERMS]


@pytest.mark.elasticsearch
def test_fetching_by_id_sees_what_no_search_sees_yet(client, index, elastic_prefix):
    add(client, index, [{"n": 1, "colour": "red"}], refresh=False)
    assert list(pages(client, [index], EVERYTHING)) == []
    wanted = [(index, "0"), (index, "1"), (f"{elastic_prefix}-missing", "0"), (index, "0")]
    whole = {"n": 1, "colour": "red"}
    assert fetch(client, wanted) == [whole, None, None, whole]
    assert fetch(client, wanted[:1], ["n"]) == [{"n": 1}]
    assert fetch(client, []) == []


@pytest.mark.elasticsearch
def test_fetching_from_a_closed_index_is_an_error_and_not_an_absence(client, index):
    add(client, index, [{"n": 1}])
    client.indices.close(index=index)
    with pytest.raises(StoreError, match="closed"):
        fetch(client, [(index, "0")])


def test_a_server_that_is_gone_is_one_clear_line():
    with closing(connect(ElasticSettings(url=f"http://127.0.0.1:{free_port()}"))) as client:
        for read in (
            lambda: list(pages(client, ["x"], EVERYTHING)),
            lambda: list(buckets(client, ["x"], EVERYTHING, [])),
            lambda: fetch(client, [("x", "1")]),
        ):
            with pytest.raises(StoreError, match=r"^http://127\.0\.0\.1:\d+.*cannot be reached") as raised:
                read()
            assert "\n" not in str(raised.value)


@pytest.mark.elasticsearch
def test_a_server_that_goes_between_two_pages_is_told_by_what_went_wrong(client, index, monkeypatch):
    """Not by the state that could not be let go either."""
    add(client, index, [{"n": n} for n in range(10)])
    reading = pages(client, [index], EVERYTHING, size=3)
    next(reading)
    with closing(connect(ElasticSettings(url=f"http://127.0.0.1:{free_port()}"))) as gone:
        monkeypatch.setattr(client, "_transport", gone.transport)
        with pytest.raises(StoreError, match="cannot be reached"):
            next(reading)


SPAN = st.dates(Date(1999, 1, 1), Date(2040, 1, 1))


@given(first=SPAN, days=st.integers(0, 690))
def test_the_indices_of_a_span_are_those_of_its_days(first, days):
    named = {index_of("f", Kind.EVENTS, first + timedelta(days=n)) for n in range(days + 1)}
    assert indices_between("f", Kind.EVENTS, first, first + timedelta(days=days)) == sorted(named)


@given(first=SPAN, days=st.integers(1, 5000))
def test_spans_that_are_long_open_or_backwards_search_every_index(first, days):
    for span in ((first, first + timedelta(days=740 + days)), (None, first), (first, None), (None, None)):
        assert indices_between("f", Kind.RECORDS, *span) == ["f-records-*"]
    assert indices_between("f", Kind.RECORDS, first, first - timedelta(days=31 + days)) == ["f-records-*"]
