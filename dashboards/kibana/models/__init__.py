"""What the Dashboards API of Kibana 9.5 takes, as far as it is used here: strict, frozen, nothing unknown.

Written from the facts of Kibana's published OpenAPI description; no text of it is copied. Keys younger than 9.5 are
left out on purpose. A field that is None is not sent.
"""
