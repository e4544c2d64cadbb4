"""How a checkpoint's file holds its numbers: all as float32, or the kernels smaller.

int8 is symmetric, with a step for each output channel: a kernel `w` (C, ...) is the int8 tensor `w` (C, ...) and the float32
tensor `w.scale` (C,), whose product is what a network gets; the largest number of a channel is 127 steps. Small kernels in such a
file are float16: they are those of the first layers, whose errors go through all others. Only kernels of
convolutions and matrices of linear layers are smaller: whatever has one dimension, batch norm's numbers and biases, is few and
stays as it is, and so do whole numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from featx.errors import FeatxError

if TYPE_CHECKING:
    import torch

    State = Mapping[str, torch.Tensor]

_SCALE = ".scale"
# Kernels of fewer numbers are float16 in an int8 file. Of a trained res3d_half, 190 clips: with this the worst cosine of prob is
# 0.99997 and the file 9.2 MB; with all kernels as int8 it is 0.9978, and 8.4 MB.
_FEW = 1 << 18
_STEPS = 127  # -128 is left out: a kernel and its negative are stored alike


@dataclass(frozen=True, kw_only=True)
class Storage:
    """One way in which a file holds its numbers.

    Attributes:
        format: Of a file's description. An older featx refuses a higher one than it knows, and so takes no such
            file's tensors for another network's.
        pack: (name, kernel) -> the tensors that hold a kernel of two dimensions or more, by name. It raises
            FeatxError where they cannot.
        unpack: (the file's tensors) -> all tensors as a network takes them, float32. It raises FeatxError, in words
            that begin with what of the file is wrong, where the tensors are not what `pack` makes.
    """

    format: int
    pack: Callable[[str, torch.Tensor], dict[str, torch.Tensor]]
    unpack: Callable[[State], dict[str, torch.Tensor]]


def packed(state: State, storage: str) -> dict[str, torch.Tensor]:
    """Return tensors as a file of that storage holds them; FeatxError where float16 cannot hold a number."""
    made: dict[str, torch.Tensor] = {}
    for name, value in state.items():
        kernel = value.dim() >= 2 and value.is_floating_point()
        made |= STORAGES[storage].pack(name, value) if kernel else {name: value}
    return made


def unpacked(state: State, storage: object) -> dict[str, torch.Tensor]:
    """Return what a file of that storage holds as a network takes it, float32.

    Raises FeatxError, in words that begin with what of the file is wrong, where the tensors are not what `packed` makes.
    """
    if not isinstance(storage, str) or storage not in STORAGES:
        raise FeatxError(
            f"storage {storage!r} is not one of {', '.join(STORAGES)}: a newer featx wrote it"
        )
    return STORAGES[storage].unpack(state)


def _plain(name: str, value: torch.Tensor) -> dict[str, torch.Tensor]:
    return {name: value}


def _half(name: str, value: torch.Tensor) -> dict[str, torch.Tensor]:
    return {name: _as_float16(name, value)}


def _quarter(name: str, value: torch.Tensor) -> dict[str, torch.Tensor]:
    if value.numel() < _FEW:
        return _half(name, value)
    kernel, scale = _as_int8(value)
    return {name: kernel, name + _SCALE: scale}


def _from_half(state: State) -> dict[str, torch.Tensor]:
    return {name: _as_float32(value) for name, value in state.items()}


def _from_quarter(state: State) -> dict[str, torch.Tensor]:
    import torch

    kernels = {name for name, value in state.items() if value.dtype is torch.int8}
    scales = {name for name in state if name.endswith(_SCALE)}
    if lone := scales - {name + _SCALE for name in kernels}:
        raise FeatxError(
            f"{min(lone)} belongs to no int8 tensor: the file is damaged, copy it again"
        )
    made = {}
    for name, value in state.items():
        if name in kernels:
            made[name] = _from_int8(name, value, state.get(name + _SCALE))
        elif name not in scales:
            made[name] = _as_float32(value)
    return made


def _as_float32(value: torch.Tensor) -> torch.Tensor:
    import torch

    return value.float() if value.dtype is torch.float16 else value


def _as_float16(name: str, value: torch.Tensor) -> torch.Tensor:
    import torch

    half = value.to(torch.float16)
    if not torch.isfinite(half).all():
        raise FeatxError(
            f"{name} has numbers up to {value.abs().max().item():g}, which float16 cannot hold: take int8"
        )
    return half


def _as_int8(value: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(C, ...) -> (C, ...) int8 and (C,) float32."""
    import torch

    scale = (value.flatten(1).abs().amax(1) / _STEPS).to(torch.float32)
    # A channel of zeros has no step: it stays zeros, whatever they are divided by.
    steps = value / _along(torch.where(scale > 0, scale, 1.0), value)
    return steps.round().clamp(-_STEPS, _STEPS).to(torch.int8), scale


def _from_int8(name: str, value: torch.Tensor, scale: torch.Tensor | None) -> torch.Tensor:
    import torch

    if scale is None:
        raise FeatxError(
            f"{name} is int8 and has no {name}{_SCALE}: the file is damaged, copy it again"
        )
    if value.dim() < 2 or scale.dtype is not torch.float32 or scale.shape != value.shape[:1]:
        shapes = f"{scale.dtype} {tuple(scale.shape)} and the tensor {tuple(value.shape)}"
        raise FeatxError(
            f"{name}{_SCALE} is {shapes}, not a float32 a channel: the file is damaged, copy it again"
        )
    if not (torch.isfinite(scale).all() and (scale >= 0).all()):
        raise FeatxError(
            f"{name}{_SCALE} has numbers that are no steps: the file is damaged, copy it again"
        )
    return value.to(torch.float32) * _along(scale, value)


def _along(scale: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """(C,) -> (C, 1, ...), to go with `value`."""
    return scale.reshape(-1, *[1] * (value.dim() - 1))


# A new storage is a row here. `featx weights pack --to` offers all but the first.
STORAGES: dict[str, Storage] = {
    "float32": Storage(format=1, pack=_plain, unpack=dict),
    "int8": Storage(format=2, pack=_quarter, unpack=_from_quarter),
    "float16": Storage(format=2, pack=_half, unpack=_from_half),
}
SMALLER = tuple(name for name in STORAGES if name != "float32")
