"""A release goes out, and comes back, only if a consumer could pull every resource it names."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.release.objects import ObjectStore
from pipeline.release.pointer import current
from pipeline.release.publishing import publish_release
from pipeline.release.registry import resource_series
from pipeline.release.resources import Resource
from pipeline.release.rollback import rollback
from reporting.errors import ContractViolation, StoreError
from reporting.verdict import Outcome, Verdict
from tests.pipeline.releasing import DAY, NOW, draft, model, released

PASS = Verdict(verdict_id="v", date=DAY, planid="p", outcome=Outcome.PASS, inputs={"a": "b"}, decided_at=NOW)


def lose_file(lake: Path, one: Resource) -> None:
    ObjectStore(lake).path(one.files[0].sha256).unlink()


def damage_file(lake: Path, one: Resource) -> None:
    path = ObjectStore(lake).path(one.files[0].sha256)
    path.chmod(0o644)
    path.write_bytes(b"?" * one.files[0].bytes)


def lose_manifest(lake: Path, one: Resource) -> None:
    resource_series(lake, "model", "lite0").manifest_path(one.number).unlink()


def exchange(lake: Path, one: Resource) -> None:
    path = resource_series(lake, "model", "lite0").manifest_path(one.number)
    path.unlink()
    path.write_text(one.model_copy(update={"sha256": "c" * 64}).model_dump_json())


SPOILT = [
    (lose_file, ContractViolation, "deep/spec.json of model/lite0@1 are gone"),
    (damage_file, ContractViolation, "it is damaged or was exchanged"),
    (lose_manifest, StoreError, "version of model/lite0 1 is not there"),
    (exchange, ContractViolation, "model/lite0@1 has content cccc"),
]


@pytest.mark.parametrize(("spoil", "error", "said"), SPOILT)
def test_a_release_that_no_consumer_could_pull_is_not_published(
    tmp_path: Path, spoil: Callable[[Path, Resource], None], error: type[Exception], said: str
) -> None:
    lake = tmp_path / "lake"
    one = model(lake, "a")
    wanted = draft(lake, "x", resources=(one.ref,))
    spoil(lake, one)
    with pytest.raises(error, match=said):
        publish_release(lake, wanted, verdict=PASS, waiver=None, expected_inputs={"a": "b"})
    assert current(lake) is None


def test_a_resource_swept_while_the_release_was_prepared_is_noticed_under_the_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = tmp_path / "lake"
    one = model(lake, "a")
    wanted = draft(lake, "x", resources=(one.ref,))
    verify = ObjectStore.verify

    def swept(store: ObjectStore, sha256: str) -> int:
        size = verify(store, sha256)
        if sha256 == one.files[-1].sha256:
            lose_file(lake, one)
        return size

    monkeypatch.setattr(ObjectStore, "verify", swept)
    with pytest.raises(ContractViolation, match="model/lite0@1 are gone"):
        publish_release(lake, wanted, verdict=PASS, waiver=None, expected_inputs={"a": "b"})
    assert current(lake) is None


@pytest.mark.parametrize(("spoil", "error", "said"), [SPOILT[0], *SPOILT[2:]])
def test_a_rollback_to_a_release_whose_resource_is_gone_is_refused(
    tmp_path: Path, spoil: Callable[[Path, Resource], None], error: type[Exception], said: str
) -> None:
    lake = tmp_path / "lake"
    one = model(lake, "a")
    released(lake, "x", resources=(one.ref,))
    second = released(lake, "y")
    spoil(lake, one)
    with pytest.raises(error, match=said):
        rollback(lake, 1, by="ana", why="the second is worse", at=NOW)
    assert current(lake) == second
