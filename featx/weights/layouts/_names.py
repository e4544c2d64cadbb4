"""From one library's names to another's, and what names alone tell of a network."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from featx.weights.layouts._types import State

if TYPE_CHECKING:
    import torch

Four = tuple[int, int, int, int]

_BLOCK = re.compile(r"layer([1-4])\.(\d{1,3})\.")


def renamed(state: State, modules: Mapping[str, str]) -> dict[str, torch.Tensor]:
    """Return the state with the modules' names replaced; names without a counterpart stay."""
    made = {}
    for name, value in state.items():
        module, _, leaf = name.rpartition(".")
        made[f"{modules[module]}.{leaf}" if module in modules else name] = value
    return made


def blocks_of(state: State) -> Four:
    """Return how many residual blocks layer1 ... layer4 have."""
    found = {(int(match[1]), match[2]) for name in state if (match := _BLOCK.match(name))}
    one, two, three, four = (sum(layer == group for layer, _ in found) for group in (1, 2, 3, 4))
    return one, two, three, four
