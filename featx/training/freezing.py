"""Layers that are not trained, as in Good Practice's figure 2."""

from __future__ import annotations

import re

from torch import nn

from featx.models import Backbone

_STAGE = re.compile(r"(?:conv|res|denseblock|norm|transition)(\d)")


def stage_of(name: str) -> int | None:
    """Return the stage, 1 to 5, of a backbone's layer by its name; None for the linear layers at the end.

    A DenseNet's first convolution is stage 1, its blocks are 2 to 5, a transition belongs to the block before it.
    """
    found = _STAGE.match(name)
    if found is None:
        return None
    number = int(found[1])
    return number + 1 if name.startswith(("conv0", "denseblock", "transition")) else number


def freeze(model: Backbone, up_to: str) -> list[str]:
    """Keep the stages up to `up_to` ("conv1" to "conv5"), that one included, as they are, and return their layers' names.

    Their parameters get no gradient; call `hold` whenever the model was put into training mode.
    """
    last = int(up_to.removeprefix("conv"))
    names = [
        name
        for name, _ in model.named_children()
        if (stage := stage_of(name)) is not None and stage <= last
    ]
    for name in names:
        model.get_submodule(name).requires_grad_(False)
    return names


def hold(model: nn.Module, names: list[str]) -> None:
    """Put frozen layers into evaluation mode: batch norm uses its statistics and does not change them."""
    for name in names:
        model.get_submodule(name).eval()
