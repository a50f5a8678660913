"""dashboards: comes with its own issue; see the design."""
