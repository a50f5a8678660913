"""Kibana dashboards as code, for the Dashboards API of Stack 9.5: typed models in, one JSON body a dashboard out.

`models/` says what Kibana takes (anything else is refused before it is sent), `esql.py` holds the pieces that queries
share, `boards/` one dashboard a file, `catalogue.py` their table. `build.py` writes them, `check.py` proves them
without Kibana (on a real ES|QL engine where one is named), `deploy.py` puts them there and compares what stands.
"""
