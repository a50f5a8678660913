"""The states of an instance."""

WAITING = "waiting"
"""Something upstream is not done yet."""
READY = "ready"
RUNNING = "running"
DONE = "done"
FAILED = "failed"
"""Quarantined: out of attempts, or met an error that the same input will meet again."""
