"""What the pipeline knows that no record holds, as plain values for pages: pictures, releases, storage, attempts, logs.

Recipe to show something new: a tuple of plain values in the module it belongs to, with the fields that
`dashboards/page/sources.py` has under the same name; a function that fills it; one line in funnelgate.py that hands it
over. Nothing is decided or written here, and nothing that is missing is an error: a page says that it is not there.

- `shown.py` tuples of galleries, and which few of many rows are shown
- `album.py` small pictures inside a page, within a budget of bytes
- `spots.py` where the picture of a row lies; `galleries.py`, `evictions.py` what is shown for each reason;
  `kept_galleries.py` what a server keeps of it
- `releases.py` what serves now; `units.py` attempts and log lines
"""
