"""What a generated dataset consists of: videos of motions in a row, and the files of its protocol."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from featx.synthetic import render as synth
from featx.synthetic.render import MOTIONS, Frame, Motion, Pose, Sprite


def _both(one: str, other: str) -> Motion:
    return lambda seconds: Pose(
        *(sum(pair) for pair in zip(MOTIONS[one](seconds), MOTIONS[other](seconds), strict=True))
    )


_PAIRS = (
    ("move_left", "rotate_cw"), ("move_right", "rotate_ccw"), ("move_up", "grow"), ("move_down", "shrink"),
    ("move_left", "shrink"), ("move_right", "grow"), ("move_up", "rotate_ccw"), ("move_down", "rotate_cw"),
)  # fmt: skip

# The classes: single motions, and pairs of them at once, for ASLAN's ten folds have two actions each of their own.
ACTIONS: dict[str, Motion] = {
    **MOTIONS,
    **{f"{one}_and_{other}": _both(one, other) for one, other in _PAIRS},
}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a layout is asked for. classes: names of ACTIONS; seconds: of a video; size: (height, width)."""

    classes: tuple[str, ...]
    per_class: int
    seconds: float
    fps: float
    size: tuple[int, int]
    seed: int


@dataclass(frozen=True, kw_only=True)
class Video:
    """A video to be written: what moves for how many frames, and where its looks come from.

    path: below the dataset's folder; the suffix says the container. group, clip: seeds of what videos of one group share
    (background, palette) and of what each has alone (shapes, places); neither tells anything of another class's.
    """

    path: str
    stretches: tuple[tuple[Motion, int], ...]
    group: tuple[int, ...]
    clip: tuple[int, ...]


@dataclass(frozen=True)
class Plan:
    """Videos, and the protocol's own files by path below the dataset's folder."""

    videos: list[Video] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)


def camel(name: str) -> str:
    """Return a class's name as UCF101 writes it: MoveLeft."""
    return "".join(word.capitalize() for word in name.split("_"))


def seeds(settings: Settings, *parts: str | int) -> tuple[int, ...]:
    """Return a seed for each part of a video's name: the same ones whatever other videos there are."""
    return (
        settings.seed,
        *(zlib.crc32(part.encode()) if isinstance(part, str) else part for part in parts),
    )


def clip_of(
    settings: Settings,
    path: str,
    name: str,
    group: int,
    number: int,
    *,
    seconds: float | None = None,
) -> Video:
    """Return clip `number` of a class's group, of one motion from end to end."""
    count = synth.frame_count(settings.seconds if seconds is None else seconds, settings.fps)
    return Video(
        path=path,
        stretches=((ACTIONS[name], count),),
        group=seeds(settings, name, 0, group),
        clip=seeds(settings, name, 1, group, number),
    )


def groups_of(per_class: int) -> list[tuple[int, int]]:
    """Return (group, clip) of each of a class's videos, both from 1, two clips a group."""
    return [
        (number // synth.CLIPS_PER_GROUP + 1, number % synth.CLIPS_PER_GROUP + 1)
        for number in range(per_class)
    ]


def held_out(groups: int, split: int) -> range:
    """Return the groups, from 1, on the test side of a split: 7 of 25 as in UCF101, and at least one."""
    count = max(1, groups * 7 // 25)
    return range((split - 1) * count + 1, split * count + 1)


def images(video: Video, *, fps: float, size: tuple[int, int]) -> Iterator[Frame]:
    """Yield the video's frames: (H, W, 3) uint8 RGB; a stretch begins where the one before it has left every shape."""
    scene = synth.draw_scene(
        size, np.random.default_rng(video.group), np.random.default_rng(video.clip)
    )
    for (motion, count), following in zip(
        video.stretches, _next_motions(video.stretches), strict=True
    ):
        yield from (synth.render(scene, motion, k / fps) for k in range(count))
        end = scene.tempo * count / fps
        scene = replace(
            scene,
            sprites=tuple(
                _taken_over(s, motion(end + s.phase), following(s.phase)) for s in scene.sprites
            ),
        )


def still(_: float) -> Pose:
    """Stand where it was drawn."""
    return Pose()


def _next_motions(stretches: Sequence[tuple[Motion, int]]) -> list[Motion]:
    return [*(motion for motion, _ in stretches[1:]), still]


def _taken_over(sprite: Sprite, ended: Pose, begins: Pose) -> Sprite:
    """Return the sprite as drawn for a motion that begins at one pose, to stand where it ended at the other."""
    return replace(
        sprite,
        x=sprite.x + ended.x - begins.x,
        y=sprite.y + ended.y - begins.y,
        angle=sprite.angle + ended.turn - begins.turn,
        size=sprite.size + ended.zoom - begins.zoom,
    )
