"""dashboards: what was booked, shown to people: in Kibana as code (`kibana/`), and as a page for those without it.

It reads only what `reporting` writes, so that a team with a pipeline of its own has it too: stages, relations and
metrics come from its topology. To add a Kibana dashboard: one file in `kibana/boards/` and one line in
`kibana/catalogue.py`; then `funnelgate dashboards build`.
"""
