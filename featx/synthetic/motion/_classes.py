"""The classes: what moves how, a row each. Nothing else tells one class from another."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import torch

SLOW, FAST, ANY = (0.35, 0.6), (1.1, 1.8), (0.6, 1.5)


class Pose(NamedTuple):
    """A place or a velocity: to the right and down in half frames, clockwise in radians, growth as a logarithm."""

    x: float = 0.0
    y: float = 0.0
    turn: float = 0.0
    zoom: float = 0.0


STILL = Pose()


@dataclass(frozen=True, kw_only=True)
class Motion:
    """How the things of a clip move; time goes from -1 to 1 over a clip, and every rate is times the clip's tempo.

    first, then: the objects' velocity before and after the clip's middle. wave: amplitude of a swing of `cycles` a unit of time;
    in quarter, y swings a quarter cycle after x (an orbit); in bounce, it swings to one side (its absolute value).
    camera: the camera's velocity, seen as the background's; camera_wave as wave. opposed: every other object moves the other way.
    limbs: cycles of the arms' and of the legs' swing. ripple: radians at which a wave runs through the objects.
    boil: at which the background changes its pattern. heading: whether the objects' x and y are turned by a drawn angle.
    tempo: from, to.
    """

    first: Pose = STILL
    then: Pose | None = None
    wave: Pose = STILL
    cycles: float = 0.0
    quarter: float = 0.0
    bounce: bool = False
    camera: Pose = STILL
    camera_wave: Pose = STILL
    opposed: bool = False
    arms: float = 0.0
    legs: float = 0.0
    ripple: float = 0.0
    boil: float = 0.0
    heading: bool = False
    tempo: tuple[float, float] = ANY


_COMPASS = ("right", "down_right", "down", "down_left", "left", "up_left", "up", "up_right")
_SPEED = 0.5  # of translation, in half frames a unit of time
_SPIN = 0.9
_GROWTH = 0.45


def _towards(name: str, speed: float = _SPEED) -> Pose:
    angle = _COMPASS.index(name) * math.pi / 4
    return Pose(speed * math.cos(angle), speed * math.sin(angle))


def _minus(pose: Pose) -> Pose:
    return Pose(*(-value for value in pose))


def _rows() -> dict[str, Motion]:
    rows: dict[str, Motion] = {"still": Motion()}
    for speed, tempo in (("slow", SLOW), ("fast", FAST)):
        for name in _COMPASS:
            rows[f"move_{name}_{speed}"] = Motion(first=_towards(name), tempo=tempo)
        rows[f"turn_cw_{speed}"] = Motion(first=Pose(turn=_SPIN), tempo=tempo)
        rows[f"turn_ccw_{speed}"] = Motion(first=Pose(turn=-_SPIN), tempo=tempo)
        rows[f"grow_{speed}"] = Motion(first=Pose(zoom=_GROWTH), tempo=tempo)
        rows[f"shrink_{speed}"] = Motion(first=Pose(zoom=-_GROWTH), tempo=tempo)
        for name, wave in (
            ("x", Pose(x=0.25)),
            ("y", Pose(y=0.25)),
            ("turn", Pose(turn=0.6)),
            ("zoom", Pose(zoom=0.3)),
        ):
            rows[f"swing_{name}_{speed}"] = Motion(wave=wave, cycles=0.8, tempo=tempo)
        rows[f"bounce_{speed}"] = Motion(wave=Pose(y=-0.5), cycles=0.5, bounce=True, tempo=tempo)
        rows[f"arms_{speed}"] = Motion(arms=0.8, tempo=tempo)
        rows[f"legs_{speed}"] = Motion(legs=0.8, tempo=tempo)
        rows[f"limbs_{speed}"] = Motion(arms=0.8, legs=0.8, tempo=tempo)
        rows[f"ripple_{speed}"] = Motion(ripple=4.0, tempo=tempo)
        rows[f"boil_{speed}"] = Motion(boil=1.2, tempo=tempo)
    rows["orbit_cw"] = Motion(wave=Pose(0.3, 0.3), cycles=0.6, quarter=1.0)
    rows["orbit_ccw"] = Motion(wave=Pose(0.3, 0.3), cycles=0.6, quarter=-1.0)
    straight = ("right", "down", "left", "up")
    for i, name in enumerate(straight):
        back, left, right = (straight[(i + k) % 4] for k in (2, 3, 1))
        for after in (back, left, right):
            rows[f"{name}_then_{after}"] = Motion(first=_towards(name), then=_towards(after))
        way = _towards(name)
        rows[f"pan_{name}"] = Motion(camera=way)
        rows[f"follow_{name}"] = Motion(first=way, camera=_minus(way))
        rows[f"meet_{name}"] = Motion(first=_towards(name, 2 * _SPEED), camera=_minus(way))
        rows[f"drift_{name}"] = Motion(
            camera=_towards(name, 0.7 * _SPEED),
            boil=0.9,
            first=_minus(_towards(name, 0.7 * _SPEED)),
        )
    for name, pose in (("turn", Pose(turn=_SPIN)), ("grow", Pose(zoom=_GROWTH))):
        rows[f"{name}_then_back"] = Motion(first=pose, then=_minus(pose))
        rows[f"back_then_{name}"] = Motion(first=_minus(pose), then=pose)
    rows["go_then_stop"] = Motion(first=_towards("right"), then=STILL, heading=True)
    rows["stop_then_go"] = Motion(then=_towards("right"), heading=True)
    rows["zoom_in"] = Motion(camera=Pose(zoom=_GROWTH))
    rows["zoom_out"] = Motion(camera=Pose(zoom=-_GROWTH))
    rows["roll_cw"] = Motion(camera=Pose(turn=0.6))
    rows["roll_ccw"] = Motion(camera=Pose(turn=-0.6))
    rows["shake"] = Motion(camera_wave=Pose(0.12, 0.12), cycles=1.6, quarter=0.5)
    rows["part_x"] = Motion(first=_towards("right"), opposed=True)
    rows["part_y"] = Motion(first=_towards("down"), opposed=True)
    rows["part_turn"] = Motion(first=Pose(turn=_SPIN), opposed=True)
    return rows


MOTIONS: dict[str, Motion] = _rows()
CLASSES = tuple(MOTIONS)
# Those that move all of the picture, or the objects in it by much: a network learns them in a tenth of the clips.
BASIC = (
    "still", "shake", "boil_fast", "zoom_in", "zoom_out", "roll_cw", "roll_ccw",
    *(f"{kind}_{way}" for kind in ("pan", "follow") for way in ("right", "down", "left", "up")),
    *(f"move_{way}_fast" for way in ("right", "down", "left", "up")),
    "turn_cw_fast", "turn_ccw_fast", "grow_fast", "shrink_fast",
)  # fmt: skip
# Streams by name: the classes that their clips are of.
GENERATED = "generated"
STREAMS: dict[str, tuple[str, ...]] = {GENERATED: CLASSES, "generated-basic": BASIC}


class Table(NamedTuple):
    """The rows' numbers, (classes, ...) float32 each; poses have 4 columns."""

    first: torch.Tensor
    then: torch.Tensor
    wave: torch.Tensor
    cycles: torch.Tensor
    quarter: torch.Tensor
    bounce: torch.Tensor
    camera: torch.Tensor
    camera_wave: torch.Tensor
    opposed: torch.Tensor
    arms: torch.Tensor
    legs: torch.Tensor
    ripple: torch.Tensor
    boil: torch.Tensor
    heading: torch.Tensor
    tempo: torch.Tensor

    @classmethod
    def of(cls, labels: torch.Tensor) -> Table:
        """Return the rows of these labels, (N, ...) each."""
        return cls(*(column[labels] for column in _columns()))


@lru_cache(maxsize=1)
def _columns() -> Table:
    rows = list(MOTIONS.values())
    columns = {
        name: [getattr(row, name) for row in rows] for name in Table._fields if name != "then"
    }
    columns["then"] = [row.first if row.then is None else row.then for row in rows]
    return Table(
        **{name: torch.tensor(values, dtype=torch.float32) for name, values in columns.items()}
    )
