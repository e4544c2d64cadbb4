"""The objects: figures of six capsules (head, body, two arms, two legs), or creatures of six in any arrangement."""

from __future__ import annotations

from typing import NamedTuple

import torch

from featx.synthetic.motion._draws import Draws
from featx.synthetic.motion._paths import OBJECTS

PARTS = 6
_TURN = 6.283185307179586
# A figure in its own units, 1 being half its height: head, body, arms, legs. x is to its left, y down.
_JOINTS = torch.tensor(
    [[0.0, -0.72], [0.0, -0.45], [0.17, -0.42], [-0.17, -0.42], [0.1, 0.1], [-0.1, 0.1]]
)
_LENGTHS = torch.tensor([0.02, 0.5, 0.55, 0.55, 0.8, 0.8])
_WIDTHS = torch.tensor([0.18, 0.19, 0.08, 0.08, 0.1, 0.1])
_RESTS = torch.tensor([0.0, 0.0, 0.9, -0.9, 0.15, -0.15])


class Figures(NamedTuple):
    """N clips' O objects of P parts. joint: (N, O, P, 2) where a part begins; length, width, rest, colour: (N, O, P, ...).

    swing: (N, O, P) radians, signed, that a part swings by; parts 2 and 3 do so with the arms, 4 and 5 with the legs.
    """

    joint: torch.Tensor
    length: torch.Tensor
    width: torch.Tensor
    rest: torch.Tensor
    swing: torch.Tensor
    colour: torch.Tensor


def figures(draws: Draws) -> Figures:
    """Draw what the objects look like."""
    n = len(draws)

    def per_part(name: str, low: float, high: float, columns: int = 1) -> torch.Tensor:
        values = draws.uniform(name, OBJECTS * PARTS * columns, low, high)
        return (
            values.view(n, OBJECTS, PARTS, columns)
            if columns > 1
            else values.view(n, OBJECTS, PARTS)
        )

    person = (draws.uniform("person", OBJECTS) < 0.5)[..., None]
    stretch = 1 + per_part("stretch", -0.2, 0.2)
    joint = torch.where(person[..., None], _JOINTS, per_part("joints", -0.35, 0.35, 2))
    length = torch.where(person, _LENGTHS * stretch, per_part("lengths", 0, 0.8))
    width = torch.where(
        person, _WIDTHS * (1 + per_part("stout", -0.3, 0.4)), per_part("widths", 0.06, 0.4)
    )
    rest = torch.where(
        person, _RESTS + per_part("rests", -0.25, 0.25), per_part("directions", 0, _TURN)
    )
    # Left and right in step, mirrored, or one limb alone: drawn, whatever the class.
    swing = per_part("swings", 0.35, 1.1)
    sides = draws.number("sides", 3)[:, None]
    other = torch.tensor([1.0, -1.0, 0.0], device=swing.device)[sides]
    swing = torch.stack(
        [
            0 * swing[..., 0],
            0 * swing[..., 1],
            swing[..., 2],
            swing[..., 2] * other,
            swing[..., 4],
            swing[..., 4] * other,
        ],
        -1,
    )
    # Each part has a colour of its own, about the object's.
    colour = draws.uniform("object colour", 3 * OBJECTS, -0.45, 0.45).view(n, OBJECTS, 1, 3)
    own = draws.uniform("part contrast", OBJECTS, 0, 0.35)[..., None, None] * per_part(
        "part colour", -1, 1, 3
    )
    return Figures(joint, length, width, rest, swing, colour + own)
