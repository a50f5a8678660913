"""Downloading pictures from addresses that strangers chose: bounded, polite and unable to reach inside.

Why a folder: each file holds one rule that must be right by itself. `addresses` says which addresses are
refused, `resolve` turns names into addresses, `transport` connects only to addresses that were judged,
`visit` makes one HTTP request, `files` reads one file, `retry` says when to try again, `fetch` runs them all. A request
with `first_bytes` only looks whether something is still there, under the same rules; `Absence` is what it may learn.
To add a reason: name it in `policy.Reason` and in the topology, and return it from `visit` or `files`.
"""
