"""`Embedder`: pictures in, unit vectors out, whatever the back-end."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from pipeline.models.preprocess import Rgb, preprocess
from pipeline.models.session import Float32, Session
from pipeline.models.spec import EmbedderOutput, ModelRef, ModelSpec
from reporting.errors import ConfigError, DataError


class Embedder:
    """A spec and a session, joined: the same numbers for a picture whatever batch it came in (to float32 rounding)."""

    def __init__(self, spec: ModelSpec, session: Session, *, batch_size: int = 8) -> None:
        """Join them.

        Args:
            spec: of kind embedder.
            session: runs the spec's artifact.
            batch_size: most pictures handed to the session at once, >= 1; bounds memory, not results.

        Raises:
            ConfigError: the spec is not an embedder's, or the batch size is below 1.
        """
        if not isinstance(spec.output, EmbedderOutput):
            raise ConfigError(f"model {spec.ref} is a {spec.kind}, not an embedder; name an embedder for this category")
        if batch_size < 1:
            raise ConfigError(f"batch_size is {batch_size}; it must be at least 1")
        self.spec = spec
        self._output = spec.output
        self._session = session
        self._batch_size = batch_size

    @property
    def space_id(self) -> str:
        """The feature space the vectors live in; only vectors of one space may be compared."""
        return self.spec.space_id

    @property
    def ref(self) -> ModelRef:
        """Name and version of the model, for the record's `versions`."""
        return self.spec.ref

    @property
    def dim(self) -> int:
        """Length of a vector."""
        return self._output.dim

    def embed(self, images: Sequence[Rgb]) -> Float32:
        """Return (N, dim) float32 with rows of length 1, in the order of `images`; (0, dim) for no picture.

        Args:
            images: HWC uint8 RGB arrays of at least 1 x 1 px, sizes may differ; not changed.

        Raises:
            DataError: a picture is not (H, W, 3) uint8 or has no pixels, the model's answer has the wrong shape, or a
                vector cannot be normalised (all zero, or not finite). The message names the picture's place.
        """
        vectors = np.empty((len(images), self.dim), dtype=np.float32)
        for start in range(0, len(images), self._batch_size):
            batch = preprocess(images[start : start + self._batch_size], self.spec.input)
            vectors[start : start + len(batch)] = self._answer(batch)
        if self._output.transform == "signed_sqrt":
            vectors = np.copysign(np.sqrt(np.abs(vectors)), vectors)
        return normalise_rows(vectors, where=f"model {self.ref}")

    def _answer(self, batch: npt.NDArray[np.float32]) -> Float32:
        answers = self._session.run(batch)
        expected = (len(batch), self.dim)
        found = answers.get(self._output.tensor)
        if found is None or found.shape != expected:
            shapes = {name: value.shape for name, value in answers.items()}
            raise DataError(
                f"model {self.ref}: expected output {self._output.tensor!r} of shape {expected}, the session answered"
                f" {shapes}; the spec and the artifact do not belong together"
            )
        return found


def normalise_rows(vectors: Float32, *, where: str) -> Float32:
    """Return the rows divided by their Euclidean length (computed in float64), so that cosine is an inner product.

    Args:
        vectors: (n, d) float32; not changed.
        where: names the origin in the message.

    Raises:
        DataError: a row is all zero or not finite; a direction cannot be made up for it.

    Example:
        >>> normalise_rows(np.array([[3.0, 4.0]], dtype=np.float32), where="doctest").tolist()
        [[0.6000000238418579, 0.800000011920929]]
    """
    lengths = np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
    bad = np.flatnonzero(~((lengths[:, 0] > 0) & np.isfinite(lengths[:, 0])))
    if len(bad):
        raise DataError(
            f"{where}: the vector of picture {bad[0]} has length {lengths[bad[0], 0]:g} ({len(bad)} such in the call),"
            " so it has no direction; drop the picture or replace the model"
        )
    unit: Float32 = (vectors / lengths).astype(np.float32)
    return unit
