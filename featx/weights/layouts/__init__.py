"""Other libraries' names for the tensors of networks that are here too, one layout a file.

A new layout is a new module in this folder, named as the layout is, that defines `LAYOUT`: the names by
which a state dict is recognised, and a function that reads it. Nothing else lists it.
"""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache

from featx.errors import UsageError
from featx.weights.layouts._names import blocks_of
from featx.weights.layouts._types import Foreign, Hints, Layout, State

__all__ = ["Foreign", "Hints", "Layout", "blocks_of", "layout_names", "layouts", "translated"]


def _modules() -> list[str]:
    return sorted(m.name for m in pkgutil.iter_modules(__path__) if not m.name.startswith("_"))


def layout_names() -> tuple[str, ...]:
    """Return the names of all layouts, without importing what reads them."""
    return tuple(module.replace("_", "-") for module in _modules())


@cache
def layouts() -> tuple[Layout, ...]:
    """Return all layouts, by name."""
    found = []
    for module in _modules():
        layout = importlib.import_module(f"{__name__}.{module}").LAYOUT
        if not isinstance(layout, Layout) or layout.name != module.replace("_", "-"):
            raise TypeError(f"{__name__}.{module} must define LAYOUT, a Layout of the same name")
        found.append(layout)
    return tuple(found)


def translated(
    architecture: str, state: State, *, where: str, arch: str | None = None, parallel: bool = False
) -> Foreign | None:
    """Return weights of another library under our names, or None where no layout has these names.

    Args:
        architecture: the model that they are for.
        state: tensors by name.
        where: the file's name for messages.
        arch: what the file tells besides; see `featx.weights.statefile.StateFile`.
        parallel: likewise.

    Raises:
        UsageError: they are recognised and belong to another model, or are a 2D network's.
    """
    # Kernels of 2D convolutions, and none of 3D ones.
    if {value.dim() for value in state.values()} & {4, 5} == {4}:
        raise UsageError(
            f"{where} holds a 2D network's weights, not {architecture}'s: give weights of {architecture};"
            " only a semi-CNN's can be made of a 2D network's, by `featx weights from-2d`"
        )
    if (layout := next((each for each in layouts() if each.recognises(state)), None)) is None:
        return None
    foreign = layout.read(state, Hints(where=where, arch=arch, parallel=parallel))
    if not foreign.fits:
        raise UsageError(f"{where} holds weights that no model here has: they are {foreign.what}")
    if architecture not in foreign.fits:
        models = " or ".join(foreign.fits)
        raise UsageError(
            f"{where} holds weights of model {models}, not of {architecture}: {foreign.what}"
        )
    return foreign
