"""What a camera and a codec do to a picture: light that changes, blur, noise, blocks; the same distribution for every class."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch.nn import functional

from featx.synthetic.motion._draws import Draws

_BLOCK = 8


class Faults(NamedTuple):
    """Which clips are blurred and which are coded, as indices."""

    blurred: torch.Tensor
    coded: torch.Tensor


def faults(draws: Draws) -> Faults:
    """Draw which clips have which faults."""
    return Faults(
        *(
            torch.nonzero(draws.chance(name, share))[:, 0]
            for name, share in (("blurs", 0.3), ("codes", 0.5))
        )
    )


def filmed(canvas: torch.Tensor, draws: Draws, times: torch.Tensor, faulty: Faults) -> torch.Tensor:
    """(N, 3, T, S, S) float32, 0 the middle grey and 1 the whole range -> (N, T, S, S, 3) uint8."""
    n, _, length, size, _ = canvas.shape
    # Few videos are as colourful as colours that are drawn.
    grey = canvas.mean(1, keepdim=True)
    canvas = grey + draws.one("saturation", 0.1, 1)[:, None, None, None, None] * (canvas - grey)
    canvas *= _light(draws, times)[:, None, :, None, None]
    x = canvas.transpose(1, 2).reshape(n, 3 * length, size, size)
    for spoil, index in ((_blurred, faulty.blurred), (_coded, faulty.coded)):
        if len(index):
            x[index] = spoil(x[index], Draws(draws.keys[index]))
    x = x.view(n, length, 3, size, size)
    strength = (draws.one("noise", 0, 1) ** 2 * 0.06)[:, None, None, None, None]
    x = x + strength * draws.uniform("grain", x[0].numel(), -1, 1).view_as(x)
    return (
        (255 * (x + 0.5))
        .round_()
        .clamp_(0, 255)
        .to(torch.uint8)
        .permute(0, 1, 3, 4, 2)
        .contiguous()
    )


def _light(draws: Draws, times: torch.Tensor) -> torch.Tensor:
    """(N, T) factors: in a third of the clips the light rises, falls or flickers."""
    on = draws.chance("light", 0.35).float()[:, None]
    depth, rate = draws.uniform("light depth", 1, 0, 0.4), draws.uniform("light rate", 1, 0.1, 1.5)
    phase = draws.uniform("light phase", 1, 0, 2 * math.pi)
    return 1 + on * depth * torch.sin(math.pi * rate * times + phase)


def _blurred(x: torch.Tensor, draws: Draws) -> torch.Tensor:
    """(N, C, S, S): mix each frame with itself at a lower resolution, as a scaled or badly focused video is."""
    soft = functional.avg_pool2d(functional.pad(x, (1, 1, 1, 1), mode="replicate"), 3, 1)
    return x + draws.one("blur", 0.2, 1)[:, None, None, None] * (soft - x)


def _coded(x: torch.Tensor, draws: Draws) -> torch.Tensor:
    """(N, C, S, S): round the cosine transform of blocks of 8 x 8 pixels, the higher frequencies more, as codecs do."""
    size = x.shape[-1]
    more = -size % _BLOCK
    padded = functional.pad(x, (0, more, 0, more), mode="replicate")
    basis = _cosines(x.device)
    many = padded.shape[-1] // _BLOCK
    blocks = padded.view(*x.shape[:2], many, _BLOCK, many, _BLOCK)
    turned = torch.einsum("ncaibj,ui,vj->ncaubv", blocks, basis, basis)
    number = torch.arange(_BLOCK, device=x.device)
    growth = 1 + 0.5 * (number[:, None, None] + number)
    step = (draws.one("coarseness", 0, 1) ** 2 * 0.16 + 1e-4)[
        :, None, None, None, None, None
    ] * growth
    coded = torch.einsum("ncaubv,ui,vj->ncaibj", (turned / step).round() * step, basis, basis)
    return coded.flatten(-2).flatten(-3, -2)[..., :size, :size]


def _cosines(device: torch.device) -> torch.Tensor:
    """Return the orthonormal discrete cosine transform, (8, 8): frequencies, places."""
    place, number = (
        torch.arange(_BLOCK, device=device),
        torch.arange(_BLOCK, device=device)[:, None],
    )
    basis = torch.cos(math.pi / _BLOCK * (place + 0.5) * number) * math.sqrt(2 / _BLOCK)
    basis[0] *= math.sqrt(0.5)
    return basis
