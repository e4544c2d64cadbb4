"""Drawn clips to network input, on the device they are on."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.nn import functional

from featx.transforms import FLOW_ZERO, Transform


def network_input(clips: torch.Tensor, sides: Sequence[int], flips: Sequence[bool], transform: Transform) -> torch.Tensor:
    """Resize drawn crops to the network's input, mirror those that are to be, and normalise.

    clips: (N, T, S, S, 3) uint8, of which clip i fills the top left `sides[i]` x `sides[i]` pixels.
    -> (N, 3, T, crop, crop) float32, channels_last_3d in memory, on the same device.

    Crops are resized as the decoder resizes frames, bilinear over the area that a pixel covers. Flow images are resized
    in their values too, which are in pixels; in the mirror what moves to the right moves to the left.
    """
    n, length = clips.shape[:2]
    crop = transform.crop
    x = torch.empty((n, 3, length, crop, crop), device=clips.device, memory_format=torch.channels_last_3d)
    for kind in sorted(set(zip(sides, flips, strict=True))):
        side, flip = kind
        places = [i for i, each in enumerate(zip(sides, flips, strict=True)) if each == kind]
        chosen = clips if len(places) == n else clips[places]
        x[places] = transform.normalise(_resized(chosen[:, :, :side, :side], crop, transform), mirrored=flip)
    return x


def _resized(clips: torch.Tensor, crop: int, transform: Transform) -> torch.Tensor:
    """(N, T, side, side, 3) uint8 -> (N, T, crop, crop, 3), float32 where it was resized."""
    side = clips.shape[2]
    if side == crop:
        return clips
    frames = clips.flatten(0, 1).permute(0, 3, 1, 2).float()
    frames = functional.interpolate(frames, size=(crop, crop), mode="bilinear", antialias=True, align_corners=False)
    if transform.input == "flow":
        frames = (frames - FLOW_ZERO) * (crop / side) + FLOW_ZERO
    return frames.permute(0, 2, 3, 1).reshape(*clips.shape[:2], crop, crop, 3)
