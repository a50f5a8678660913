"""Writers and shippers that are killed, forked, many at once, or out of disk: nothing acknowledged is lost."""

from __future__ import annotations

import multiprocessing
import resource
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from reporting.errors import StoreError
from reporting.outbox import Fate, Outcome
from reporting.segments import Fact
from reporting.spool import Spool
from tests.reporting.spools import EVERYTHING, bodies, deliver, fact, kill, opened, python, said, segments


def until(condition, seconds: float = 30.0):
    """Wait for something that other processes do; fail after a time that is ample on any machine."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.005)
    return found


def limited_append(folder: Path, bytes_: int, done) -> None:
    """In a child: append until the disk (here: the greatest file) is full, then go on after it was freed."""
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_, hard))
    spool = Spool(folder, fsync=False)
    acknowledged, errors = [], []
    for number in range(200):
        try:
            spool.append([fact(f"{number:050}"), fact(f"+{number:049}")])
            acknowledged.append(number)
        except StoreError as error:
            errors.append(str(error))
            if len(errors) == 3:
                resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    done.put((acknowledged, errors))


def test_a_full_disk_is_an_error_that_names_it_and_costs_nothing_that_was_acknowledged(tmp_path):
    fork = multiprocessing.get_context("fork")
    done = fork.SimpleQueue()
    child = fork.Process(target=limited_append, args=(tmp_path, 5000, done))
    child.start()
    acknowledged, errors = done.get()
    child.join()
    assert len(errors) == 3
    assert all("File too large" in error and "nothing was recorded" in error for error in errors)
    with opened(tmp_path) as spool:
        assert [int(body) for body in bodies(spool)] == [number for number in acknowledged for _ in range(2)]
        assert spool.dead() == []
        assert spool.status().pending == 2 * len(acknowledged) == 2 * 197


MEMORY = """
import resource, sys
from reporting.outbox import Fate, Outcome
from reporting.segments import Fact
from reporting.spool import Spool

def ship(units):
    body = "x" * 500
    for _ in range(units):
        spool.append([Fact("record", "id", 1, body)] * 100)
    print(spool.status().pending)
    while entries := spool.peek(2000, 1 << 20):
        spool.settle([Outcome(entry, Fate.DELIVERED) for entry in entries])
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024))

spool = Spool(sys.argv[1], fsync=False)
ship(50)
ship(1000)
print(spool.status().shipped)
"""


@pytest.mark.slow
def test_memory_stays_flat_over_a_hundred_thousand_entries(tmp_path):
    out, _ = python(MEMORY, tmp_path).communicate(timeout=120)
    few, before, many, after, shipped = map(int, out.split())
    assert (few, many, shipped) == (5000, 100_000, 105_000)
    assert after - before < 12 << 20  # of 60 MB that went through


def test_one_shipper_leads_and_another_follows_when_it_resigns(tmp_path):
    with opened(tmp_path) as one, opened(tmp_path) as two:
        assert one.lead("a", 60)
        assert one.lead("a", 60)
        assert not one.lead("b", 60)
        assert not two.lead("b", 60)
        two.resign("b")
        one.resign("b")
        assert not two.lead("b", 60)
        one.resign("a")
        assert two.lead("b", 60)
        assert not one.lead("a", 60)


def test_a_killed_shipper_leaves_the_lease_to_the_next_at_once(tmp_path):
    child = python(
        "import sys, time; from reporting.spool import Spool\n"
        "s = Spool(sys.argv[1]); print(s.lead('child', 60), flush=True); time.sleep(600)",
        tmp_path,
    )
    assert said(child) == "True"
    with opened(tmp_path) as spool:
        assert not spool.lead("me", 60)
        kill(child)
        assert spool.lead("me", 60)


def test_a_forked_child_neither_keeps_the_locks_of_its_parent_nor_takes_them_away(tmp_path):
    parent = opened(tmp_path)
    parent.append([fact("parent")])
    assert parent.lead("parent", 60)
    fork = multiprocessing.get_context("fork")
    answers, go_on = fork.SimpleQueue(), fork.Event()

    def child() -> None:
        answers.put(parent.lead("child", 60))
        parent.append([fact("child")])
        answers.put(len(segments(tmp_path)))
        go_on.wait(60)

    process = fork.Process(target=child)
    process.start()
    assert answers.get() is False  # the parent leads
    assert answers.get() == 2  # the child has a segment of its own
    parent.append([fact("parent again")])
    parent.close()
    with opened(tmp_path) as other:
        assert other.lead("other", 60)  # also while the child lives
        assert sorted(bodies(other)) == ["child", "parent", "parent again"]
    go_on.set()
    process.join()
    assert process.exitcode == 0


WRITER = """
import sys
from reporting.segments import Fact
from reporting.spool import Spool
spool = Spool(sys.argv[1], segment_bytes=20_000)
number = 0
while True:
    spool.append([Fact("record", f"{sys.argv[2]}-{number}-{part}", 1, "x" * 700) for part in range(3)])
    print(number, flush=True)
    number += 1
"""


def test_writers_killed_while_they_append_lose_nothing_they_acknowledged(tmp_path):
    acknowledged: dict[str, int] = {}
    for round_ in range(2):
        children = {f"{round_}{name}": python(WRITER, tmp_path, f"{round_}{name}") for name in "abc"}
        for name, child in children.items():
            for _ in range(10):
                acknowledged[name] = int(said(child))
        for name, child in children.items():
            told = [line for line in kill(child).splitlines(keepends=True) if line.endswith("\n")]
            acknowledged[name] = max([acknowledged[name], *map(int, told)])
    with opened(tmp_path) as spool:
        spool.append([fact("after", 1)])
        entries = spool.peek(*EVERYTHING)
        counted = Counter(entry.document_id for entry in entries)
        assert set(counted.values()) == {1}
        for name, last in acknowledged.items():
            missing = [
                (number, part)
                for number in range(last + 1)
                for part in range(3)
                if f"{name}-{number}-{part}" not in counted
            ]
            assert missing == []
            unit = [f"{name}-{last + 1}-{part}" in counted for part in range(3)]
            assert len(set(unit)) == 1  # the one in hand: all of it or nothing
        assert all(entry.body == "x" * 700 for entry in entries if entry.document_id != "id-1")
        assert spool.dead() == []
        assert spool.status().pending == len(entries)
        deliver(spool)
        spool.close()
        assert bodies(spool) == []
    assert segments(tmp_path) == []


SHIPPER = """
import sys
from pathlib import Path
from reporting.outbox import Fate, Outcome
from reporting.spool import Spool
spool, delivered = Spool(sys.argv[1]), Path(sys.argv[2])
assert spool.lead("me", 60)
while entries := spool.peek(7, 10**9):
    with delivered.open("a") as file:
        file.writelines(entry.document_id + "\\n" for entry in entries)
    print("delivered", flush=True)
    spool.settle([Outcome(entry, Fate.DELIVERED) for entry in entries])
print("done", flush=True)
"""


def test_a_shipper_killed_between_delivery_and_settling_repeats_and_loses_nothing(tmp_path):
    folder, delivered = tmp_path / "spool", tmp_path / "delivered"
    with opened(folder, segment_bytes=2000) as spool:
        for number in range(400):
            spool.append([fact("x" * 20, number)])
    for batches in (1, 3, 9, 20):
        child = python(SHIPPER, folder, delivered)
        for _ in range(batches):
            assert said(child) == "delivered"
        kill(child)
    child = python(SHIPPER, folder, delivered)
    out, _ = child.communicate(timeout=60)
    assert out.splitlines()[-1] == "done"
    counted = Counter(delivered.read_text().splitlines())
    assert set(counted) == {f"id-{number}" for number in range(400)}
    assert counted.total() <= 400 + 4 * 7  # at most the batch in hand again
    assert segments(folder) == []


def test_many_threads_and_processes_append_while_one_ships(tmp_path):
    code = (
        "import sys; from reporting.segments import Fact; from reporting.spool import Spool\n"
        "with Spool(sys.argv[1], segment_bytes=3000, fsync=False) as s:\n"
        "    for n in range(150): s.append([Fact('record', f'{sys.argv[2]}-{n}', n, 'x' * 50)])"
    )
    children = [python(code, tmp_path, f"p{number}") for number in range(3)]
    shared = opened(tmp_path, segment_bytes=3000)
    errors: list[BaseException] = []

    def write(name: str) -> None:
        try:
            for number in range(150):
                shared.append([Fact("record", f"{name}-{number}", number, "x" * 50)])
        except Exception as error:  # noqa: BLE001 - asserted below
            errors.append(error)

    threads = [threading.Thread(target=write, args=(f"t{number}",)) for number in range(3)]
    for thread in threads:
        thread.start()
    seen: Counter[str] = Counter()

    def ship() -> bool:
        running = any(thread.is_alive() for thread in threads) or any(child.poll() is None for child in children)
        entries = shared.peek(40, 10**9)
        seen.update(entry.document_id for entry in entries)
        shared.settle([Outcome(entry, Fate.DELIVERED) for entry in entries])
        return not running and not entries

    until(ship, 60)
    for child in children:
        child.communicate()
    assert errors == []
    assert [child.returncode for child in children] == [0, 0, 0]
    assert seen == {f"{name}-{number}": 1 for name in ("p0", "p1", "p2", "t0", "t1", "t2") for number in range(150)}
    assert shared.status().shipped == 900
    shared.close()


@pytest.mark.slow
def test_reviving_while_others_write_ship_and_bury_loses_nothing(tmp_path):
    shared, other = opened(tmp_path, segment_bytes=2000), opened(tmp_path, segment_bytes=2000)
    stop = threading.Event()
    errors: list[BaseException] = []

    def loop(act) -> None:
        try:
            while not stop.is_set():
                act()
        except Exception as error:  # noqa: BLE001 - asserted below
            errors.append(error)

    threads = [threading.Thread(target=loop, args=(act,)) for act in (other.revive, other.status, other.dead)]
    for thread in threads:
        thread.start()
    seen: set[str] = set()
    tried: Counter[str] = Counter()
    for number in range(150):
        shared.append([fact("x" * 40, number)])
        entries = shared.peek(5, 10**9)
        tried.update(entry.document_id for entry in entries)
        fates = [Fate.POISON if tried[entry.document_id] < 2 else Fate.DELIVERED for entry in entries]
        shared.settle([Outcome(entry, fate) for entry, fate in zip(entries, fates, strict=True)])
        seen |= {entry.document_id for entry, fate in zip(entries, fates, strict=True) if fate is Fate.DELIVERED}
    stop.set()
    for thread in threads:
        thread.join()
    while shared.revive() or shared.status().pending:
        seen |= {entry.document_id for entry in shared.peek(*EVERYTHING)}
        deliver(shared)
    assert errors == []
    assert seen == {f"id-{number}" for number in range(150)}
    shared.close()
    other.close()
