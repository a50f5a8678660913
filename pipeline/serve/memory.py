"""How much memory this process may still take."""

from __future__ import annotations

from pathlib import Path

_MEMINFO = Path("/proc/meminfo")
_GROUP = Path("/sys/fs/cgroup")


def free_memory(meminfo: Path = _MEMINFO, group: Path = _GROUP) -> int | None:
    """Return the bytes that are free for this process: of the machine, or of its control group where that has less.

    Args:
        meminfo: As Linux writes it.
        group: Folder of the control group (version 2).

    Returns:
        None where the system does not say.
    """
    try:
        lines = dict(line.split(":", 1) for line in meminfo.read_text().splitlines())
        machine = int(lines["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        return None
    try:
        limit = int((group / "memory.max").read_text())  # "max": no limit
        inactive = next(
            int(line.split()[1])
            for line in (group / "memory.stat").read_text().splitlines()
            if line.startswith("inactive_file ")
        )
        used = int((group / "memory.current").read_text()) - inactive
    except (OSError, ValueError, StopIteration):
        return machine
    return max(0, min(machine, limit - used))
