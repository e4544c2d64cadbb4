"""Drawn clips to network input, on the device they are on."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.nn import functional

from featx.transforms import FLOW_ZERO, Transform


def network_input(
    clips: torch.Tensor,
    sides: Sequence[int],
    flips: Sequence[bool],
    transform: Transform,
    *,
    shorter: int,
) -> torch.Tensor:
    """Resize drawn crops to the network's input, mirror those that are to be, and normalise.

    clips: (N, T, S, S, 3) uint8, of which clip i fills the top left `sides[i]` x `sides[i]` pixels.
    shorter: side of the frames that they were cut from, in pixels.
    -> (N, 3, T, crop, crop) float32, channels_last_3d in memory, on the same device.

    Crops are resized as the decoder resizes frames, bilinear over the area that a pixel covers. In flow images, whose unit is
    a share of the frame, motion grows as what moves does beside an extracted clip's; in the mirror, right is left.
    """
    n, length = clips.shape[:2]
    crop = transform.crop
    x = torch.empty(
        (n, 3, length, crop, crop), device=clips.device, memory_format=torch.channels_last_3d
    )
    for kind in sorted(set(zip(sides, flips, strict=True))):
        side, flip = kind
        places = [i for i, each in enumerate(zip(sides, flips, strict=True)) if each == kind]
        index = None if len(places) == n else _on(torch.tensor(places), clips.device)
        chosen = clips if index is None else clips[index]
        made = _resized(chosen[:, :, :side, :side], crop)
        if transform.input == "flow":
            zoom = (crop / side) * (shorter / transform.shorter)
            made = (made.float() - FLOW_ZERO) * zoom + FLOW_ZERO
        made = transform.normalise(made, mirrored=flip)
        if index is None:
            return made
        x[index] = made
    return x


def _on(index: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Move an index to a device, without waiting for what a GPU has to do before."""
    return index.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else index


def _resized(clips: torch.Tensor, crop: int) -> torch.Tensor:
    """(N, T, side, side, 3) uint8 -> (N, T, crop, crop, 3), float32 where it was resized."""
    if clips.shape[2] == crop:
        return clips
    frames = clips.flatten(0, 1).permute(0, 3, 1, 2).float()
    frames = functional.interpolate(
        frames, size=(crop, crop), mode="bilinear", antialias=True, align_corners=False
    )
    return frames.permute(0, 2, 3, 1).reshape(*clips.shape[:2], crop, crop, 3)
