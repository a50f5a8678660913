"""`Session`: the only thing a back-end implements; `OrtSession` runs ONNX Runtime on the CPU."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from reporting.errors import DataError

Float32 = npt.NDArray[np.float32]

# ONNX Runtime's levels: 0 verbose, 1 info, 2 warning, 3 error. Warnings there are about devices and
# graph rewrites nobody on call can act on.
_LOG_ERRORS_ONLY = 3


class Session(Protocol):
    """A loaded network. Pre- and post-processing stay outside, keyed by the spec."""

    def run(self, batch: Float32) -> dict[str, Float32]:
        """Map a batch (N, 3, H, W) float32, N >= 1, to float32 arrays by output name, each with N rows."""
        ...


class OrtSession:
    """ONNX Runtime on the CPU provider.

    Safe to call from several threads. Not to be carried over a fork: workers are spawned and open their own.
    """

    def __init__(self, path: Path, *, threads: int = 1) -> None:
        """Load the graph.

        Args:
            path: the ONNX file.
            threads: threads inside one operator, >= 1. 1 is right for pipeline workers, which are one process a core.

        Raises:
            DataError: the file is not a graph that ONNX Runtime can load.
        """
        import onnxruntime as ort

        ort.disable_telemetry_events()
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = _LOG_ERRORS_ONLY
        # Idle threads spin by default and burn the CPU that decoding and hashing want.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session = ort.InferenceSession(str(path), sess_options=options, providers=["CPUExecutionProvider"])
        except Exception as error:  # the binding raises a dozen unrelated classes; all mean this
            raise DataError(
                f"{path}: ONNX Runtime {ort.__version__} cannot load it: {error}; export the model again"
            ) from error
        graph_input = self._session.get_inputs()[0]
        self._path = path
        self._input_name: str = graph_input.name
        # Fixed sides are integers, free ones names.
        self._input_shape: list[int | str] = list(graph_input.shape)
        self._output_names: list[str] = [output.name for output in self._session.get_outputs()]

    def run(self, batch: Float32) -> dict[str, Float32]:
        """Run the graph; see `Session.run`.

        Raises:
            DataError: the batch is not float32 or not of the graph's input shape.
        """
        expected = self._input_shape
        fits = len(batch.shape) == len(expected) and all(
            isinstance(wanted, str) or wanted == found for wanted, found in zip(expected, batch.shape, strict=True)
        )
        if not fits or batch.dtype != np.float32:
            raise DataError(
                f"{self._path}: expects {expected} float32, got {list(batch.shape)} {batch.dtype}; the input block of"
                " the spec and the artifact do not belong together"
            )
        values = self._session.run(self._output_names, {self._input_name: batch})
        return dict(zip(self._output_names, values, strict=True))
