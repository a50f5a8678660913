"""Ports that stay ours while nobody listens on them."""

from __future__ import annotations

import random
import socket

# Below 32768, where Linux takes the ports of outgoing connections: a client that tries again and again to reach a
# closed port in that range sooner or later connects to itself, and the server cannot have its port back.
_RANGE = range(20_000, 32_000)


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody listens on and no outgoing connection is given."""
    ports = random.SystemRandom()  # not the seeded one: two sessions side by side must not try the same ports
    for _ in range(200):
        port = ports.choice(_RANGE)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError(f"no free port in {_RANGE}")
