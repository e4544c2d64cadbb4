"""Two networks in a row: the second sees those clips alone that the first one's probabilities let through."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from featx.errors import UsageError
from featx.extraction.backends import PROB
from featx.extraction.backends.eager import EagerBackend

if TYPE_CHECKING:
    from featx.extraction.projection import Projection
    from featx.store.recorded import SecondNetwork


@dataclass(frozen=True, kw_only=True)
class Cascade:
    """A second network of the first one's architecture, clips and preprocessing.

    weights: its checkpoint. name: the layer that its class probabilities are stored as. gate: the first network's class whose
    probability must be `threshold` or more; the rows of other clips are all zeros, which no probabilities are.
    """

    weights: str
    gate: str
    threshold: float
    name: str = "second"

    def __post_init__(self) -> None:
        if not 0 <= self.threshold <= 1:
            raise UsageError(f"threshold is {self.threshold:g}: give a probability, 0 to 1")

    @classmethod
    def from_recorded(cls, recorded: SecondNetwork) -> Cascade:
        """Rebuild the cascade that a feature file was made with."""
        return cls(
            weights=recorded.weights.file or recorded.weights.name,
            gate=recorded.gate,
            threshold=recorded.threshold,
            name=recorded.name,
        )


class CascadeBackend:
    """Both networks, called as a `EagerBackend` of two layers: `prob` of the first, and the second's by its name.

    place: of the gate among the first one's classes. A row depends on its clip alone, as a `EagerBackend`'s: the
    second network is run on an eighth of the batch at a time, filled up with zeros, so that its batches have one size too.
    """

    def __init__(
        self,
        first: EagerBackend,
        second: EagerBackend,
        *,
        name: str,
        place: int,
        threshold: float,
    ) -> None:
        self.first, self._second = first, second
        self._name, self._place = name, place
        # As float32, in which the probabilities are: 0.7 is not the same number there.
        self._threshold = torch.tensor(threshold, dtype=torch.float32).item()
        self.device, self.precision = first.device, first.precision
        self.layers: tuple[str, ...] = (PROB, name)

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of one clip's output by layer."""
        return {PROB: self.first.shapes[PROB], self._name: self._second.shapes[PROB]}

    def project(self, projection: Projection) -> None:
        """Refuse: probabilities are not projected."""
        raise UsageError(
            f"a projection of {projection.layer} is for features, and two networks in a row give none: leave it out"
        )

    def finish(self, rows: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Return clips' rows, (N, D) a layer, as they are stored."""
        return rows

    @torch.no_grad()
    def __call__(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        """x: normalised clips (N, 3, T, H, W) -> layer: (N, D) float32 on the extractor's device."""
        first = self.first(x)[PROB]
        passed = torch.nonzero(first[:, self._place] >= self._threshold).flatten()
        out = torch.zeros((len(x), *self._second.shapes[PROB]), device=self.device)
        size = max(1, len(x) // 8)
        x = x.to(self.device)
        for chosen in torch.split(passed, size) if len(passed) else ():
            part = torch.zeros((size, *x.shape[1:]), dtype=x.dtype, device=self.device)
            part[: len(chosen)] = x[chosen]
            out[chosen] = self._second(part)[PROB][: len(chosen)]
        return {PROB: first, self._name: out}
