"""From where everything is to pixels: (N, T, S, S, 3) uint8, on any device."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple, TypeVar

import torch

from featx.errors import UsageError
from featx.synthetic.motion._artefacts import Faults, faults, filmed
from featx.synthetic.motion._classes import GENERATED, STREAMS
from featx.synthetic.motion._draws import Draws, moved
from featx.synthetic.motion._figures import PARTS, Figures, figures
from featx.synthetic.motion._paths import OBJECTS, Paths, paths
from featx.synthetic.motion._textures import COARSEST, sample, tile, tile_side

# Goes up with every change that makes other clips of the same seed.
VERSION = 1


_Tensors = TypeVar("_Tensors", Paths, Figures, Faults)


class Clips(NamedTuple):
    """frames: (N, T, S, S, 3) uint8; labels: (N,) int64, places in the stream's classes."""

    frames: torch.Tensor
    labels: torch.Tensor


def clips(
    places: Sequence[int],
    *,
    seed: int,
    frames: int,
    size: int,
    device: torch.device,
    held_out: bool = False,
    stream: str = GENERATED,
) -> Clips:
    """Make the clips at these places of an endless stream of labelled motion, on `device`.

    size: of a frame's side, in pixels. held_out: of another stream, which shares no clip with the first.
    stream: a name of STREAMS, whose classes the labels are places in.
    A clip depends on its place, the seed, the stream and its frames' number and size alone: to the bit on one kind of device and
    one release of torch; on another the same things move the same way, and pixels differ by rounding.
    Raises UsageError for frames that are too small.
    """
    if size < COARSEST:
        raise UsageError(
            f"the clips' frames are {size} pixels wide: give a crop of {COARSEST} or more"
        )
    draws = Draws.of(places, seed=seed, held_out=held_out)
    where = paths(draws, frames, STREAMS[stream])
    boils = torch.nonzero(where.boils)[:, 0]
    third = torch.nonzero(where.third)[:, 0]
    # All that is small is drawn on the CPU, which so knows how many clips have what: it never has to ask a GPU and wait.
    made, scene, look, faulty = (
        draws.to(device),
        _on(where, device),
        _on(figures(draws), device),
        _on(faults(draws), device),
    )
    x, y = _grid(size, device)
    canvas = _background(made, scene, x, y, moved(boils, device), size)
    for number in range(OBJECTS):
        index = moved(third, device) if number == OBJECTS - 1 else None
        _paint(canvas, made, scene, look, number, x, y, index)
    return Clips(filmed(canvas, made, scene.times, faulty), scene.labels)


def _on(values: _Tensors, device: torch.device) -> _Tensors:
    return type(values)(*(moved(each, device) for each in values))


def _grid(size: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Return x and y of a frame's pixels, (S, S), from -1 to 1."""
    line = (torch.arange(size, device=device) + 0.5) * (2 / size) - 1
    return line[None, :].expand(size, size), line[:, None].expand(size, size)


def _inverse(
    pose: torch.Tensor, x: torch.Tensor, y: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the places, in a thing's own frame, of the picture's pixels: (N, T, 4) poses -> two of (N, T, S, S)."""
    left, top, turn, zoom = (pose[..., i, None, None] for i in range(4))
    c, s, shrink = torch.cos(turn), torch.sin(turn), torch.exp(-zoom)
    dx, dy = x - left, y - top
    return shrink * (c * dx + s * dy), shrink * (c * dy - s * dx)


def _background(
    draws: Draws, where: Paths, x: torch.Tensor, y: torch.Tensor, boils: torch.Tensor, size: int
) -> torch.Tensor:
    side = tile_side(size)
    px, py = _inverse(where.camera, x, y)
    turn, zoom = draws.one("ground turn", 0, 2 * math.pi), draws.one("ground zoom", -0.5, 0.4)
    c, s = ((f(turn) * torch.exp(-zoom) / 3)[:, None, None, None] for f in (torch.cos, torch.sin))
    offset = draws.uniform("ground", 2)[:, :, None, None, None]
    u, v = c * px - s * py + offset[:, 0], s * px + c * py + offset[:, 1]
    canvas = sample(tile(draws, "ground", side), u, v)
    if len(boils):
        times = where.times.shape[1]
        layers = where.boil[boils]
        own = Draws(draws.keys[boils].repeat_interleave(times, 0))
        tiles = tile(own, "ground", side, layers.flatten())
        flat = [value[boils].flatten(0, 1)[:, None] for value in (u, v)]
        shown = sample(tiles, *flat)
        canvas[boils] = shown.view(len(boils), times, 3, *shown.shape[-2:]).transpose(1, 2)
    return canvas


def _paint(
    canvas: torch.Tensor,
    draws: Draws,
    where: Paths,
    look: Figures,
    number: int,
    x: torch.Tensor,
    y: torch.Tensor,
    index: torch.Tensor | None,
) -> None:
    """Paint object `number` of all clips, or of those in `index`, over the canvas (N, 3, T, S, S)."""
    if index is not None:
        if not len(index):
            return
        draws = Draws(draws.keys[index])
        where = Paths(*(value[index] for value in where))
        look = Figures(*(value[index] for value in look))
        some = canvas[index]
        _paint(some, draws, where, look, number, x, y, None)
        canvas[index] = some
        return
    px, py = _inverse(where.objects[:, number], x, y)
    # A standing wave that runs through the object: in most it is faint, in all it is there.
    bend = draws.one(f"bend {number}", 0.02, 0.16)[:, None, None, None]
    px = px + bend * torch.sin(5 * py + where.ripple[:, number, :, None, None])
    texture = sample(tile(draws, f"object {number}", 48), px / 3, py / 3)
    texture = texture - texture.mean((1, 2, 3, 4), keepdim=True)
    sharp = (canvas.shape[-1] / 4) * torch.exp(where.objects[:, number, :, 3])[..., None, None]
    for part in range(PARTS):
        away = _away(px, py, where, look, number, part)
        cover = torch.sigmoid(-4 * sharp * away)[:, None]
        colour = look.colour[:, number, part, :, None, None, None] + texture
        canvas += cover * (colour - canvas)


def _away(
    px: torch.Tensor, py: torch.Tensor, where: Paths, look: Figures, number: int, part: int
) -> torch.Tensor:
    """(N, T, S, S) distance of every pixel from a capsule's outline, negative inside, in the object's own units."""
    swings = {2: where.arms, 3: where.arms, 4: where.legs, 5: where.legs}.get(part)
    angle = look.rest[:, number, part, None]
    if swings is not None:
        angle = angle + look.swing[:, number, part, None] * swings[:, number]
    length = look.length[:, number, part, None]
    along_x, along_y = ((length * f(angle))[..., None, None] for f in (torch.sin, torch.cos))
    dx = px - look.joint[:, number, part, 0, None, None, None]
    dy = py - look.joint[:, number, part, 1, None, None, None]
    share = ((dx * along_x + dy * along_y) / (length**2 + 1e-4)[..., None, None]).clamp(0, 1)
    dx, dy = dx - share * along_x, dy - share * along_y
    return (dx * dx + dy * dy + 1e-8).sqrt() - look.width[:, number, part, None, None, None]
