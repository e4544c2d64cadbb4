"""Model names: each one row with its builder and its preprocessing."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from importlib.metadata import entry_points
from typing import Any

import torch

from featx.clips import ClipSpec
from featx.errors import UsageError, nearest
from featx.models.layers import Backbone
from featx.transforms import Transform

_ENTRIES: dict[str, ModelEntry] = {}


@dataclass(frozen=True, kw_only=True)
class ModelEntry:
    """A model's row: how to build it, what it eats and where it comes from.

    builder: called with num_classes and the model's own options.
    num_classes: how many when the caller does not say.
    clip, transform: what the published network was trained on; a checkpoint may bring its own.
    layers: those extracted when the caller names none.
    source: the paper and the table or section, or the code.
    """

    name: str
    family: str
    builder: Callable[..., Backbone]
    num_classes: int
    clip: ClipSpec
    transform: Transform
    layers: tuple[str, ...]
    source: str

    @property
    def input_shape(self) -> tuple[int, int, int, int]:
        """(3, T, H, W) of the clips that it is made for."""
        return (3, self.clip.frames, self.transform.crop, self.transform.crop)


def register(entry: ModelEntry) -> None:
    """Add a model's row; ValueError when the name is taken."""
    if entry.name in _ENTRIES:
        raise ValueError(f"two models are named {entry.name!r}")
    _ENTRIES[entry.name] = entry


def model_names(filter: str | Iterable[str] = "") -> list[str]:
    """Return the names of all models, sorted, or of those that a shell-style pattern, or one of several, matches."""
    patterns = [filter] if isinstance(filter, str) else list(filter)
    if patterns in ([""], []):
        return sorted(_ENTRIES)
    return sorted(n for n in _ENTRIES if any(fnmatchcase(n, each) for each in patterns))


def model_entry(name: str) -> ModelEntry:
    """Return the row of model `name`; UsageError with the nearest names when there is none."""
    try:
        return _ENTRIES[name]
    except KeyError:
        raise UsageError(f"unknown model {name!r}{nearest(name, _ENTRIES)}") from None


def build_model(
    name: str,
    *,
    num_classes: int | None = None,
    seed: int | None = None,
    **options: Any,
) -> Backbone:
    """Build model `name` with untrained weights, in training mode.

    Args:
        name: one of `model_names()`.
        num_classes: rows of the classifier; the model's own number by default.
        seed: draw the weights from a generator of this seed and leave torch's global one alone.
        options: the model's own, such as c3d's `dropout`.

    Raises:
        UsageError: an unknown name or option, or a number out of range.
    """
    model = skeleton(name, num_classes=num_classes, **options)
    # What Module.to_empty does; its empty_like imports torch's symbolic shapes, which takes half a second.
    model._apply(lambda t: torch.empty(t.shape, dtype=t.dtype))  # type: ignore[no-untyped-call]
    generator = None if seed is None else torch.Generator().manual_seed(_checked_seed(seed))
    model.initialise(generator)
    return model


def skeleton(name: str, *, num_classes: int | None = None, **options: Any) -> Backbone:
    """Build model `name` on the meta device: shapes, no numbers; no time spent on weights that a file will replace."""
    entry = model_entry(name)
    if num_classes is None:
        num_classes = entry.num_classes
    elif isinstance(num_classes, bool) or not isinstance(num_classes, int) or num_classes < 1:
        raise UsageError(f"num_classes is {num_classes!r}: give a whole number from 1")
    _check_options(entry, options)
    with torch.device("meta"):
        return entry.builder(num_classes=num_classes, **options)


def _check_options(entry: ModelEntry, options: Iterable[str]) -> None:
    parameters = inspect.signature(entry.builder).parameters.values()
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        return
    known = {p.name for p in parameters if p.kind is p.KEYWORD_ONLY} - {"num_classes"}
    for option in options:
        if option not in known:
            raise UsageError(
                f"model {entry.name} has no option {option!r}{nearest(option, known) if known else ''}"
            )


def _checked_seed(seed: int) -> int:
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**63:
        raise UsageError(f"seed is {seed!r}: give a whole number from 0")
    return seed


# ---------------------------------------------------------------- where the rows come from

GROUP = "featx.models"


def import_families(package: str, path: Iterable[str]) -> None:
    """Import every module of a package: those of families register their models."""
    for module in pkgutil.iter_modules(path):
        importlib.import_module(f"{package}.{module.name}")


def load_plugins() -> None:
    """Import the modules that other packages name under the entry point group `featx.models`: they register theirs.

    One that does not load costs its own models alone, and a warning.
    """
    for point in entry_points(group=GROUP):
        try:
            point.load()
        except Exception as error:  # noqa: BLE001 - whatever a third party's module does
            warnings.warn(
                f"the models of plug-in {point.value} are missing, it does not load:"
                f" {type(error).__name__}: {error}",
                stacklevel=2,
            )
