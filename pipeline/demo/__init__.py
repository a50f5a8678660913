"""The demo's source: seven days of arrivals with known faults, and the truth about them."""
