"""What a run is trained and validated on: the same questions to a dataset of videos and to clips that are generated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from featx.training.batches import Batches, Epochs

if TYPE_CHECKING:
    from featx.evaluation import Evaluation
    from featx.training.loop import Trainer
    from featx.training.plan import Plan
    from featx.training.processes import Processes
    from featx.training.recipes import Recipe
    from featx.transforms import Transform
    from featx.weights.checkpoint import LoadedModel


class Source(Protocol):
    """What a run is trained and validated on.

    title: what a report calls it. size: how much of it there is, in words. classes: in the order of the labels.
    validated: on what, in words; None without validation. measured: what the accuracies of validation rest on, as JSON values,
        "on" being its title. notes: what the user should be told.
    saves_epochs: whether the run's state is written after every epoch, beside every so many seconds.
    """

    @property
    def title(self) -> str: ...

    @property
    def size(self) -> str: ...

    @property
    def classes(self) -> tuple[str, ...]: ...

    @property
    def validated(self) -> str | None: ...

    @property
    def measured(self) -> Mapping[str, Any]: ...

    @property
    def notes(self) -> Sequence[str]: ...

    @property
    def saves_epochs(self) -> bool: ...

    def check(self, recipe: Recipe, transform: Transform) -> None:
        """Raise UsageError where it cannot be trained on by a recipe, for a network of that preprocessing."""

    def recorded(self) -> dict[str, Any]:
        """Return what the result depends on, as the entries "dataset" and "validate" of run.json."""

    def epochs(self, recipe: Recipe) -> Epochs:
        """Return the endless stream of clips."""

    def batches(self, planned: Plan, trainer: Trainer) -> Batches:
        """Return the stream's batches, from the trainer's present step on."""

    def evaluated(
        self, planned: Plan, loaded: LoadedModel, precision: str, processes: Processes
    ) -> Evaluation:
        """Return what a network makes of the validation side."""

    def told(self, planned: Plan, clips: int) -> dict[str, Any]:
        """Return what a checkpoint tells of what it has seen, so many clips: "what", in words, "licence" and "trained_on"."""
