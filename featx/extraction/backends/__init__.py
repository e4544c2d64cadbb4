"""What runs a network: clips in, rows out. One back end a file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import torch

    from featx.extraction.projection import Projection

PROB = "prob"
"""The softmax of the logits: a layer by the papers' name, though no module of a network."""

OUTPUT = "output"
"""What a module that is none of featx's returns."""


class Backend(Protocol):
    """A network made ready: its layers' rows of normalised clips.

    A row depends on its clip alone, not on its place or its neighbours in the batch. Batches have one size. It may be
    called from several threads at once.
    """

    @property
    def device(self) -> torch.device:
        """Where it computes."""

    @property
    def precision(self) -> str:
        """ "float32" or "bf16"."""

    @property
    def layers(self) -> tuple[str, ...]:
        """The layers that it gives, in order."""

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of one clip's output by layer, unflattened: res5b of Res3D is (512, 1, 7, 7)."""

    def project(self, projection: Projection) -> None:
        """Have `finish` project a layer's rows."""

    def __call__(self, x: torch.Tensor, /) -> dict[str, torch.Tensor]:
        """x: normalised clips (N, 3, T, H, W) -> layer: (N, D) float32 on the device."""

    def finish(self, rows: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Return clips' rows, means over their views, as they are stored."""
