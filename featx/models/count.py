"""How large and how expensive a network is, whole and layer by layer."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from featx.models.blocks import DenseLayer, MicroNet, NormReLU, Residual, ZeroPad
from featx.models.layers import Triple


@dataclass(frozen=True)
class Counts:
    """params: trainable numbers, batch norm's scale and shift included; multiply_adds: of one clip's forward pass."""

    params: int
    multiply_adds: int


@dataclass(frozen=True)
class Layer:
    """A named layer: its output's shape for one clip, (C, T, H, W) or (D,), what it is made of, and what it costs."""

    name: str
    shape: tuple[int, ...]
    text: str
    params: int
    multiply_adds: int


def count(model: nn.Module, input_shape: Sequence[int]) -> Counts:
    """Count parameters and multiply-adds for one clip of `input_shape` (3, T, H, W), without computing anything.

    Multiply-adds are those of convolutions and linear layers, products with padding zeros included,
    one for a multiplication with its addition, as papers mean by "FLOPs"; biases, batch norm, ReLU
    and pooling are left out.
    """
    return Counts(
        params=sum(p.numel() for p in model.parameters()),
        multiply_adds=sum(multiply_adds(model, input_shape).values()),
    )


def multiply_adds(model: nn.Module, input_shape: Sequence[int]) -> dict[str, int]:
    """Return the multiply-adds of every convolution and linear layer, by module path, for one clip of `input_shape`."""
    return _walk(model, input_shape)[0]


def layers(model: nn.Module, input_shape: Sequence[int]) -> list[Layer]:
    """Return the model's named layers in the order in which one clip of `input_shape` (3, T, H, W) passes them."""
    costs, shapes = _walk(model, input_shape)
    return [
        Layer(
            name=name,
            shape=shapes[name],
            text=describe(module),
            params=sum(p.numel() for p in module.parameters()),
            multiply_adds=sum(
                cost for path, cost in costs.items() if path == name or path.startswith(f"{name}.")
            ),
        )
        for name, module in model.named_children()
    ]


def _walk(
    model: nn.Module, input_shape: Sequence[int]
) -> tuple[dict[str, int], dict[str, tuple[int, ...]]]:
    hollow = _hollow(model)
    costs: dict[str, int] = {}
    shapes: dict[str, tuple[int, ...]] = {}

    def cost_of(path: str) -> Any:
        def add(module: nn.Module, inputs: tuple[Any, ...], output: torch.Tensor) -> None:
            weight = module.get_parameter("weight")
            # weight: (outputs, inputs per group, *kernel); each output number takes one row's products
            costs[path] = costs.get(path, 0) + output.numel() * (weight.numel() // weight.shape[0])

        return add

    def shape_of(path: str) -> Any:
        def note(module: nn.Module, inputs: tuple[Any, ...], output: torch.Tensor) -> None:
            shapes[path] = tuple(output.shape[1:])

        return note

    for path, module in hollow.named_modules():
        if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d | nn.Linear):
            module.register_forward_hook(cost_of(path))
    for name, module in hollow.named_children():
        module.register_forward_hook(shape_of(name))
    with torch.no_grad():
        hollow(torch.empty((1, *input_shape), device="meta"))
    return costs, shapes


def _hollow(model: nn.Module) -> nn.Module:
    """Return a copy without numbers, which costs no memory: what is counted depends on shapes alone."""
    memo: dict[int, Any] = {
        id(p): nn.Parameter(p.detach().to("meta"), requires_grad=p.requires_grad)
        for p in model.parameters()
    }
    memo.update({id(b): b.to("meta") for b in model.buffers()})
    hollow = copy.deepcopy(model, memo).eval()
    # They change no shape and are not counted, and the meta device computes them slowly. The modules stay: a forward may
    # ask for their attributes.
    for module in hollow.modules():
        if isinstance(module, nn.BatchNorm3d | nn.ReLU):
            module.forward = _as_it_is  # type: ignore[assignment, method-assign]
    return hollow


def _as_it_is(x: torch.Tensor) -> torch.Tensor:
    return x


# ---------------------------------------------------------------- what a layer is, in words


def describe(module: nn.Module) -> str:
    """Return what a layer is made of, as the papers print it: "3x7x7, 64, stride 1x2x2", "[3x3x3, 64; 3x3x3, 64]"."""
    if isinstance(module, nn.Linear):
        return f"{module.out_features}-d linear"
    if isinstance(module, nn.Conv3d):
        return f"{_size(module.kernel_size)}, {module.out_channels}{_stride(module.stride)}"
    if isinstance(module, nn.MaxPool3d | nn.AvgPool3d):
        kind = "max" if isinstance(module, nn.MaxPool3d) else "average"
        return f"{_size(module.kernel_size)} {kind} pool{_stride(module.stride)}"
    if isinstance(module, nn.AdaptiveAvgPool3d):
        return "average pool"
    if isinstance(module, NormReLU):
        return "batch norm"
    if isinstance(module, MicroNet):
        left, middle, right = (describe(m) for m in (module.left, module.middle, module.linear))
        return f"{describe(module.left_linear)}; {left} | {right}; {middle} | {right}"
    if isinstance(module, Residual):
        return f"[{_parts([module.get_submodule(n) for n in module.unit_names], strides=False)}]{_down(module)}"
    children = list(module.children())
    if children and isinstance(children[0], DenseLayer):
        first = children[0]
        return f"[{_parts([first.conv1, first.conv2], strides=False)}] x {len(children)}"
    return _parts(children, strides=True)


def _parts(modules: Sequence[nn.Module], *, strides: bool) -> str:
    texts = []
    for module in modules:
        for part in module.modules():
            if isinstance(part, nn.Conv3d):
                stride = _stride(part.stride) if strides else ""
                texts.append(f"{_size(part.kernel_size)}, {part.out_channels}{stride}")
            elif isinstance(part, nn.Linear | nn.AvgPool3d):
                texts.append(describe(part))
    return "; ".join(texts)


def _down(block: Residual) -> str:
    shortcut: nn.Module | None = block.projection or block.zero_pad
    if isinstance(shortcut, ZeroPad):
        return f"{_stride(shortcut.stride)}, zero padding"
    for module in shortcut.modules() if shortcut is not None else ():
        if isinstance(module, nn.Conv3d):
            return f"{_stride(module.stride)}, projection"
    return ""


def _triple(value: int | Sequence[int]) -> Triple:
    if isinstance(value, int):
        return (value, value, value)
    t, h, w = value
    return (t, h, w)


def _size(value: int | Sequence[int]) -> str:
    return "x".join(str(n) for n in _triple(value))


def _stride(value: int | Sequence[int]) -> str:
    return "" if _triple(value) == (1, 1, 1) else f", stride {_size(value)}"
