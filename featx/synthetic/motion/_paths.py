"""Where everything is at each of a clip's times, from its class and its draws: small tensors, on the CPU.

What is drawn does not look at the class, and an object's place, size and angle, its limbs and ripples move around circles on
which their start is uniform (places and sizes wrap around, the others do so by nature). At any one time their
distribution is therefore the same for every class, even where the time is known. What is left in single frames: under a camera
that zooms, the ground's scale and the objects' distances from one another are spread wider; a boiling ground's values are
distributed a little otherwise. A 2D network, which sees one frame, does not find it (docs/weights.md).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch

from featx.synthetic.motion._classes import CLASSES, Table
from featx.synthetic.motion._draws import Draws

OBJECTS = 3
# Half the range that places wrap around in, in half frames: an object leaves on one side and enters on the other.
ROOM = 1.0
# Range that sizes wrap around in, as logarithms: a figure of size 1 is as high as the frame.
SMALLEST, LARGEST = math.log(0.6), math.log(1.6)
TURN = 2 * math.pi


class Paths(NamedTuple):
    """N clips, T times, O objects. objects: (N, O, T, 4) x, y, turn, zoom in the picture. camera: (N, T, 4).

    arms, legs: (N, O, T) radians of a limb's swing, before its amplitude. ripple: (N, O, T) radians. boil: (N, T) layers.
    third: (N,) whether the third object is there. times: (N, T).
    """

    labels: torch.Tensor
    times: torch.Tensor
    objects: torch.Tensor
    camera: torch.Tensor
    arms: torch.Tensor
    legs: torch.Tensor
    ripple: torch.Tensor
    boil: torch.Tensor
    boils: torch.Tensor
    third: torch.Tensor


def paths(draws: Draws, frames: int, classes: Sequence[str] = CLASSES) -> Paths:
    """Return where everything is in N clips of that many frames; a clip of one frame shows a drawn time.

    classes: those that the labels are places in.
    """
    n = len(draws)
    labels = draws.number("label", len(classes))
    row = Table.of(torch.tensor([CLASSES.index(name) for name in classes])[labels])
    times = (
        torch.linspace(-1, 1, frames).repeat(n, 1)
        if frames > 1
        else draws.uniform("time", 1, -1, 1)
    )
    low, high = row.tempo[:, 0], row.tempo[:, 1]
    tempo = low + (high - low) * draws.one("tempo")
    own = 1 + 0.15 * draws.uniform("own tempo", OBJECTS, -1, 1)
    own[:, 1:] *= torch.where(row.opposed[:, None] > 0, -1.0, 1.0) ** torch.arange(1, OBJECTS)
    clock = times[:, None] * tempo[:, None, None] * torch.ones(1, OBJECTS, 1)  # (N, O, T)
    phase = draws.uniform("phase", OBJECTS, 0, TURN)[..., None]
    world = _travelled(row.first, row.then, clock) * own[..., None, None]
    world = world + _swing(row.wave, row, clock, phase)
    angle = draws.one("heading", 0, TURN) * row.heading
    world = _headed(world, angle)
    camera = (
        _travelled(row.camera, row.camera, clock[:, :1])[:, 0]
        + _swing(row.camera_wave, row, clock[:, :1], phase[:, :1])[:, 0]
    )
    camera = camera + _unsteady(draws, times)
    # What the camera zooms into and rolls about lies anywhere, for the background and the objects alike.
    centre = draws.uniform("centre", 2, -ROOM, ROOM)
    camera = camera + torch.cat([centre, torch.zeros(n, 2)], 1)[:, None]
    base = torch.stack(
        [
            draws.uniform("x", OBJECTS, -ROOM, ROOM),
            draws.uniform("y", OBJECTS, -ROOM, ROOM),
            draws.uniform("turn", OBJECTS, 0, TURN),
            draws.uniform("zoom", OBJECTS, SMALLEST, LARGEST),
        ],
        -1,
    )
    swings = {}
    for name, rate in (("arms", row.arms), ("legs", row.legs)):
        start = draws.uniform(name, OBJECTS, 0, TURN)[..., None]
        swings[name] = torch.sin(start + TURN * rate[:, None, None] * clock)
    ripple = (
        draws.uniform("ripple", OBJECTS, 0, TURN)[..., None] + row.ripple[:, None, None] * clock
    )
    boil = draws.one("boil", 0, 64)[:, None] + row.boil[:, None] * clock[:, 0]
    return Paths(
        labels, times, _seen(base[:, :, None] + world, camera), camera, swings["arms"], swings["legs"], ripple, boil,
        row.boil > 0, draws.chance("third", 0.5),
    )  # fmt: skip


def _travelled(first: torch.Tensor, then: torch.Tensor, clock: torch.Tensor) -> torch.Tensor:
    """(N, 4) velocities before and after time 0, (N, O, T) -> (N, O, T, 4)."""
    before, after = clock.clamp(max=0)[..., None], clock.clamp(min=0)[..., None]
    return before * first[:, None, None] + after * then[:, None, None]


def _swing(
    amplitude: torch.Tensor, row: Table, clock: torch.Tensor, phase: torch.Tensor
) -> torch.Tensor:
    angle = TURN * row.cycles[:, None, None] * clock + phase
    quarter = torch.zeros(len(row.cycles), 1, 1, 4)
    quarter[..., 1] = (row.quarter * (math.pi / 2))[:, None, None]
    value = torch.sin(angle[..., None] - quarter)
    value = torch.where(row.bounce[:, None, None, None] > 0, value.abs(), value)
    return amplitude[:, None, None] * value


def _headed(world: torch.Tensor, angle: torch.Tensor) -> torch.Tensor:
    c, s = torch.cos(angle)[:, None, None], torch.sin(angle)[:, None, None]
    x, y = world[..., 0], world[..., 1]
    return torch.stack([c * x - s * y, s * x + c * y, world[..., 2], world[..., 3]], -1)


def _unsteady(draws: Draws, times: torch.Tensor) -> torch.Tensor:
    """Return what a hand-held camera adds, in half of the clips: a slow drift and a tremble, well below what is labelled."""
    on = draws.chance("hand-held", 0.5).float()[:, None, None]
    drift = draws.uniform("drift", 4, -1, 1) * torch.tensor([0.08, 0.08, 0.04, 0.04])
    tremble = draws.uniform("tremble", 4, 0, 1) * torch.tensor([0.02, 0.02, 0.015, 0.01])
    rate, phase = draws.uniform("tremble rate", 4, 1, 4), draws.uniform("tremble phase", 4, 0, TURN)
    moved = drift[:, None] * times[..., None] + tremble[:, None] * torch.sin(
        math.pi * rate[:, None] * times[..., None] + phase[:, None]
    )
    return on * moved


def _seen(world: torch.Tensor, camera: torch.Tensor) -> torch.Tensor:
    """Return objects' poses as the camera shows them, wrapped around: (N, O, T, 4), (N, T, 4) -> (N, O, T, 4)."""
    x, y, turn, zoom = camera[:, None].unbind(-1)
    c, s, scale = torch.cos(turn), torch.sin(turn), torch.exp(zoom)
    seen_x = scale * (c * world[..., 0] - s * world[..., 1]) + x
    seen_y = scale * (s * world[..., 0] + c * world[..., 1]) + y
    return torch.stack(
        [
            _wrapped(seen_x, -ROOM, ROOM),
            _wrapped(seen_y, -ROOM, ROOM),
            world[..., 2] + turn,
            _wrapped(world[..., 3] + zoom, SMALLEST, LARGEST),
        ],
        -1,
    )


def _wrapped(value: torch.Tensor, low: float, high: float) -> torch.Tensor:
    return torch.remainder(value - low, high - low) + low
