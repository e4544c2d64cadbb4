"""What a layout is, and what reading one gives."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from featx.transforms import Transform

if TYPE_CHECKING:
    import torch

State = Mapping[str, "torch.Tensor"]


@dataclass(frozen=True, kw_only=True)
class Foreign:
    """Weights that came under another library's names, under ours.

    fits: names of the models that they belong to, none when no model here is theirs.
    what: what they are, and why they belong there, in words.
    transform: what they were trained with, where that is not the preprocessing of every model they fit.
    changed: what was changed on the way, for the feature file. assumed: what the file does not tell and was
        concluded from it, likewise.
    """

    state: dict[str, torch.Tensor]
    layout: str
    fits: tuple[str, ...]
    what: str
    transform: Transform | None = None
    changed: str | None = None
    assumed: str | None = None


@dataclass(frozen=True, kw_only=True)
class Hints:
    """What a file tells beside its tensors; see `featx.weights.statefile.StateFile`."""

    where: str
    arch: str | None = None
    parallel: bool = False


@dataclass(frozen=True, kw_only=True)
class Layout:
    """One library's naming.

    name: as the manifest and messages have it; the module's name with "-" for "_".
    signatures: sets of tensor names. A state dict that has all names of one set is of this layout. No
        other layout has all of them.
    read: takes the state dict and what the file tells besides, and returns the weights under our names.
    """

    name: str
    signatures: tuple[tuple[str, ...], ...]
    read: Callable[[State, Hints], Foreign]

    def recognises(self, state: State) -> bool:
        """Return whether a state dict is of this layout."""
        return any(all(name in state for name in each) for each in self.signatures)
