"""How large and how expensive a network is."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn


@dataclass(frozen=True)
class Counts:
    """params: trainable numbers, batch norm's scale and shift included; multiply_adds: of one clip's forward pass."""

    params: int
    multiply_adds: int


def count(model: nn.Module, input_shape: Sequence[int]) -> Counts:
    """Count parameters and multiply-adds for one clip of `input_shape` (3, T, H, W), without computing anything.

    Multiply-adds are those of convolutions and linear layers, products with padding zeros included,
    one for a multiplication with its addition, as papers mean by "FLOPs"; biases, batch norm, ReLU
    and pooling are left out.
    """
    # Emptied tensors make the copy free: what is counted depends on shapes alone.
    memo: dict[int, Any] = {id(p): nn.Parameter(p.detach().to("meta"), requires_grad=p.requires_grad) for p in model.parameters()}
    memo.update({id(b): b.to("meta") for b in model.buffers()})
    hollow = copy.deepcopy(model, memo).eval()
    total = 0

    def add(module: nn.Module, inputs: tuple[Any, ...], output: torch.Tensor) -> None:
        nonlocal total
        weight = module.get_parameter("weight")
        # weight: (outputs, inputs per group, *kernel); each output number takes one row's products
        total += output.numel() * (weight.numel() // weight.shape[0])

    for module in hollow.modules():
        if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d | nn.Linear):
            module.register_forward_hook(add)
    with torch.no_grad():
        hollow(torch.empty((1, *input_shape), device="meta"))
    return Counts(params=sum(p.numel() for p in model.parameters()), multiply_adds=total)
