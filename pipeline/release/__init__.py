"""Releases and resources: immutable manifests with rising numbers, and pointers that say which one counts.

objects.py  content by its sha256     numbered.py  numbers and pointers, crash safe     durable.py  the writes beneath
manifest.py, pointer.py, publishing.py, rollback.py, diff.py  releases     resource*.py, registry.py  all else
consumer.py, following.py, fetching.py  who follows a publisher     retention.py, pins.py  what may be deleted
withheld.py, champion.py, journal.py  decisions by people     signing.py  signatures     golden.py  queries to warm up

Content is never changed; going back is a new number on old content. A new kind of resource needs no code: give it a
business. A new decision by people is a model and a file name over journal.py.
"""
