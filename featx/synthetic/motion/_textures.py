"""Textures that tile: lattices of hashed numbers in several octaves, soft, hard-edged, striped or in patches, in any colours."""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch.nn import functional

from featx.synthetic.motion._draws import Draws

# Cells of the coarsest octave along a tile's side; each further one has twice as many.
COARSEST = 3
_TURN = 2 * math.pi


def tile_side(size: int) -> int:
    """Return the side in pixels of a background's tile for frames of that size: half as large again, 3 times a power of two."""
    return COARSEST << math.ceil(math.log2(1.5 * size / COARSEST))


def tile(draws: Draws, name: str, side: int, layer: torch.Tensor | None = None) -> torch.Tensor:
    """Draw a texture for each clip: (N, 3, side, side) float32 about 0, whose opposite edges join.

    layer: (N,) places in a third dimension, through which the pattern changes smoothly: Perlin-noise video.
    """
    octaves = round(math.log2(side / COARSEST))
    slope, share = (
        draws.one(f"{name} slope", 0.3, 1.3),
        draws.uniform(f"{name} octaves", octaves, 0.1, 1),
    )
    waves: torch.Tensor | None = None
    for octave in range(octaves):
        cells = COARSEST * 2**octave
        values = _lattice(
            draws, f"{name} {octave}", cells, None if layer is None else layer * 1.4**octave
        )
        weight = (share[:, octave] * torch.exp2(-octave * slope))[:, None, None, None]
        part = weight * _between(values, side)
        waves = part if waves is None else waves + part
    if waves is None:
        raise ValueError(f"a tile of {side} pixels has no octave")
    waves = waves / waves.square().mean((1, 2, 3), keepdim=True).sqrt().clamp(min=1e-6)
    kind = draws.number(f"{name} kind", 4)[:, None, None, None]
    made = torch.where(kind == 1, torch.tanh(6 * waves), waves)
    made = torch.where(kind == 2, torch.tanh(4 * _stripes(draws, name, waves)), made)
    patches = functional.interpolate(
        _lattice(draws, f"{name} patches", 2 * COARSEST, None), size=side, mode="nearest"
    )
    made = torch.where(kind == 3, patches + 0.3 * waves, made)
    return _coloured(draws, name, made)


def sample(tiles: torch.Tensor, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Look tiles up at places: (N, C, side, side), x and y (N, T, H, W) in tiles, any number -> (N, C, T, H, W), bilinear."""
    side = tiles.shape[-1]
    # A pixel more on each edge, taken from the opposite one: between the last pixel and the first lies a seam otherwise.
    around = functional.pad(tiles, (1, 1, 1, 1), mode="circular")
    shrink = side / (side + 2)
    places = [(2 * (value - torch.floor(value)) - 1) * shrink for value in (x, y)]
    n, times, height, width = x.shape
    grid = torch.stack(places, -1).view(n, times * height, width, 2)
    return functional.grid_sample(around, grid, align_corners=False).view(
        n, -1, times, height, width
    )


def _lattice(draws: Draws, name: str, cells: int, layer: torch.Tensor | None) -> torch.Tensor:
    """(N, 3, cells, cells) uniform numbers of variance 1; between two whole layers a mixture of both that has it too."""
    count = 3 * cells * cells
    spread = math.sqrt(3)
    if layer is None:
        return draws.uniform(name, count, -spread, spread).view(-1, 3, cells, cells)
    below = torch.floor(layer)
    mixed = []
    for number in (below, below + 1):
        own = Draws(draws.keys + torch.stack([number, -number], 1).to(torch.int32) * 7919)
        mixed.append(own.uniform(name, count, -spread, spread).view(-1, 3, cells, cells))
    angle = ((layer - below) * (math.pi / 2))[:, None, None, None]
    return torch.cos(angle) * mixed[0] + torch.sin(angle) * mixed[1]


def _between(values: torch.Tensor, side: int) -> torch.Tensor:
    """Interpolate lattices to tiles by cubic convolution (Keys 1981, a = -0.75): (N, C, cells, cells) -> (N, C, side, side)."""
    matrix = _cubic(values.shape[-1], side, values.device)
    flat = values.flatten(0, 1)
    across = matrix.expand(len(flat), -1, -1)
    return torch.bmm(torch.bmm(across, flat), across.transpose(1, 2)).view(
        *values.shape[:2], side, side
    )


@lru_cache(maxsize=64)
def _cubic(cells: int, side: int, device: torch.device) -> torch.Tensor:
    """Return the weights of a ring of cells in each of `side` pixels around it, (side, cells)."""
    place = (torch.arange(side, dtype=torch.float64) + 0.5) * cells / side - 0.5
    below = torch.floor(place)
    weights = torch.zeros(side, cells, dtype=torch.float64)
    for step in range(-1, 3):
        away = (place - below - step).abs()
        a = -0.75
        near = (a + 2) * away**3 - (a + 3) * away**2 + 1
        far = a * away**3 - 5 * a * away**2 + 8 * a * away - 4 * a
        index = (below + step).long().remainder(cells)
        weights[torch.arange(side), index] += torch.where(
            away <= 1, near, torch.where(away < 2, far, 0.0)
        )
    return weights.float().to(device)


def _stripes(draws: Draws, name: str, waves: torch.Tensor) -> torch.Tensor:
    """(N, 3, side, side) waves -> (N, 1, side, side) stripes that they bend."""
    side = waves.shape[-1]
    place = torch.arange(side, device=waves.device) / side
    across, down = (
        draws.number(f"{name} stripes {axis}", 13)[:, None, None, None] - 6 for axis in "xy"
    )
    angle = across * place[None, None, None, :] + down * place[None, None, :, None]
    bent = draws.one(f"{name} bent", 0, 0.8)[:, None, None, None]
    return torch.sin(_TURN * angle + bent * waves[:, :1])


def _coloured(draws: Draws, name: str, made: torch.Tensor) -> torch.Tensor:
    """Mix the three patterns into colours of drawn contrast, about a drawn colour."""
    n = len(draws)
    grey = draws.one(f"{name} grey", 0, 1)[:, None, None]
    mixing = draws.uniform(f"{name} mixing", 9, -0.6, 0.6).view(n, 3, 3) + torch.eye(
        3, device=made.device
    )
    mixing = mixing * (1 - grey) + grey * (torch.arange(3, device=made.device) == 0)
    parts = made.expand(n, 3, *made.shape[-2:])
    # Sums, no matrix product: its order of summing depends on how many clips there are.
    mixed = mixing[:, :, 0, None, None] * parts[:, None, 0]
    for i in (1, 2):
        mixed = mixed + mixing[:, :, i, None, None] * parts[:, None, i]
    contrast = draws.one(f"{name} contrast", 0.08, 0.3)[:, None, None, None]
    colour = (
        draws.uniform(f"{name} colour", 3, -0.3, 0.3)
        + draws.one(f"{name} light", -0.2, 0.2)[:, None]
    )
    return contrast * mixed + colour[:, :, None, None]
