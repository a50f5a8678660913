"""Elasticsearch: what the documents look like, and how they get there.

names, documents       indices, ids and fields: pure       templates/, roles/   JSON that goes to the cluster as it is
client, setup          connect; build and upgrade           bulk, sink, effective deliver what an outbox holds
search, compare, replay read pages; hold against SQL; repair

Recipe, a field of the record: add it to `record.py`, to `documents.record_source` and to `templates/records.json`;
the mapping test says which of the three is missing. Recipe, a kind of document: a line in `names.Kind`, its two
functions in `documents`, its template. Split from `stores/elastic.py`: the shipper loads no store.
"""
