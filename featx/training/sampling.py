"""Which frames and which part of them a training clip shows: the papers' augmentations, a row each; arithmetic only.

A draw is a pure function of its random generator and the video's size and length, so that a run can be
resumed, or spread over processes, without keeping any generator's state.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, get_args

import numpy as np

from featx.clips import ClipSpec
from featx.errors import UsageError, nearest
from featx.transforms import Transform

Position = Literal["center", "uniform", "corner"]
Temporal = Literal["span", "whole"]

# Hara et al. 2018, section IV-A; the 2017 paper prints 2^(-1/4) twice, which its source [21] has as 2^(-3/4).
MULTI_SCALE = (1.0, 2**-0.25, 2**-0.5, 2**-0.75, 0.5)


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """How a training clip is drawn from a video.

    frame_size: shorter side that frames are resized to before cropping, aspect kept; None: as the network's own
        preprocessing resizes them.
    position: where the crop lies: in the centre, anywhere with the same chance, or in one of the four corners and the centre.
    scales: the crop's side as a share of the frame's shorter side, one of them with the same chance; the crop is then
        resized to the network's input. Empty: the crop is as large as the network's input.
    temporal_scales: a clip's span is stretched by one of these, its frames then being the nearest ones.
    flip: the chance that a clip is mirrored.
    windows: clips come from this many stretches of each video, `window_seconds` long and drawn once; 0: from anywhere.
    temporal: "span": a clip is a stretch as long as the network's clips; "whole": its frames are spread evenly over all of
        the video, or over the part of it that is labelled, however long that is.
    """

    frame_size: int | None = None
    position: Position
    scales: tuple[float, ...] = (1.0,)
    temporal_scales: tuple[float, ...] = (1.0,)
    flip: float = 0.5
    windows: int = 0
    window_seconds: float = 2.0
    temporal: Temporal = "span"

    def __post_init__(self) -> None:
        if self.position not in get_args(Position):
            raise UsageError(
                f"crop position is {self.position!r}: give one of {', '.join(get_args(Position))}"
            )
        if self.frame_size is not None and not 1 <= self.frame_size <= 4096:
            raise UsageError(
                f"frames of {self.frame_size} pixels: give 1 to 4096, the shorter side"
            )
        if any(not 0 < s <= 1 for s in self.scales):
            raise UsageError(
                f"scales is {self.scales}: each must be above 0 and at most 1, the frame's shorter side"
            )
        if not self.temporal_scales or any(not 0 < s <= 100 for s in self.temporal_scales):
            raise UsageError(
                f"temporal scales is {self.temporal_scales}: give one or more, each above 0 and at most 100"
            )
        if not 0 <= self.flip <= 1:
            raise UsageError(f"flip is {self.flip}: give the chance of a mirrored clip, 0 to 1")
        if self.windows < 0 or not self.window_seconds > 0:
            raise UsageError(
                f"{self.windows} windows of {self.window_seconds} s: give 0 or more, longer than 0 s"
            )
        if self.temporal not in get_args(Temporal):
            raise UsageError(
                f"temporal is {self.temporal!r}: give one of {', '.join(get_args(Temporal))}"
            )
        if self.temporal == "whole" and (self.windows or self.temporal_scales != (1.0,)):
            raise UsageError(
                "temporal is 'whole', which leaves nothing to draw: give neither windows nor temporal_scales"
            )

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as plain JSON values, without `temporal` "span", as in the runs before there was a choice."""
        values = {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}
        return (
            values
            if self.temporal == "whole"
            else {k: v for k, v in values.items() if k != "temporal"}
        )

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Augmentation:
        """Rebuild an augmentation from `to_dict`'s values."""
        given: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in values.items()
        }
        return cls(**given)

    def resized(self, transform: Transform) -> Transform:
        """Return the preprocessing by which frames are resized before they are cropped."""
        return (
            transform
            if self.frame_size is None
            else replace(transform, resize=self.frame_size, crop=1)
        )

    def largest_side(self, transform: Transform) -> int:
        """Return the side, in pixels, of the largest crop, for a network with that preprocessing."""
        return (
            max(_side(self.shorter(transform), scale) for scale in self.scales)
            if self.scales
            else transform.crop
        )

    def shorter(self, transform: Transform) -> int:
        """Return the shorter side, in pixels, of the frames that are cropped, for a network with that preprocessing."""
        return transform.shorter if self.frame_size is None else self.frame_size


# Good Practice resized its videos to 240 pixels height (section V-A), the 2017 paper to 360 (section 4.1); which of them
# the semi-CNN paper's crops "at multiple scales" were taken from it does not say: 240 is UCF101's own height.
AUGMENTATIONS: Mapping[str, Augmentation] = {
    # Tran et al. 2017, section 3.2, "similar to C3D": random crops of 112 x 112, temporal jitter, mirrored half of the time
    # (C3D's paper, section 4.1).
    "tran2017": Augmentation(position="uniform", scales=()),
    # Section 4: clips from five 2-second stretches of each video.
    "tran2017-sports1m": Augmentation(position="uniform", scales=(), windows=5),
    # Hara et al. 2018, section IV-A, in its order.
    "spatial-center": Augmentation(frame_size=240, position="center"),
    "spatial-random": Augmentation(frame_size=240, position="uniform"),
    "multi-scale-spatial-random": Augmentation(
        frame_size=240, position="uniform", scales=MULTI_SCALE
    ),
    "multi-scale-spatial-corner": Augmentation(
        frame_size=240, position="corner", scales=MULTI_SCALE
    ),
    "multi-scale-spatiotemporal-random": Augmentation(
        frame_size=240,
        position="uniform",
        scales=MULTI_SCALE,
        temporal_scales=(3.0, 2.0, 1.0, 1 / 2, 1 / 3),
    ),
    # Hara et al. 2017, section 3.2.1.
    "hara2017": Augmentation(frame_size=360, position="corner", scales=MULTI_SCALE),
    # Yang et al. 2019, section 4.3: frames of 128 x 171, crops of 112 x 112 from the corners and the centre, mirrored.
    "asymmetric": Augmentation(position="corner", scales=()),
    # Shou et al. 2016, section 3.1: frames spread evenly over a window or a trimmed video; crops and mirror images as C3D's.
    "scnn": Augmentation(position="uniform", scales=(), temporal="whole"),
    # The network's own centre crop and no mirror image: only where in time a clip lies is random.
    "none": Augmentation(position="center", scales=(), flip=0.0),
}


def augmentation(name: str) -> Augmentation:
    """Return the augmentation of that name; UsageError with the nearest names when there is none."""
    if name not in AUGMENTATIONS:
        raise UsageError(f"unknown augmentation {name!r}{nearest(name, AUGMENTATIONS)}")
    return AUGMENTATIONS[name]


@dataclass(frozen=True)
class Crop:
    """A square part of a frame: its top left corner and side, in pixels of the resized frame."""

    top: int
    left: int
    side: int


def draw_frames(
    rng: np.random.Generator, n_frames: int, clip: ClipSpec, augmentation: Augmentation
) -> list[int]:
    """Draw which sampled frames a clip shows, `clip.frames` numbers below `n_frames`.

    The first is drawn with the same chance from all with which the clip lies inside the video. A video that is shorter
    than the clip is looped (Hara et al. 2017, section 3.2.1). A temporal scale s takes a stretch of s times the span
    and from it the nearest frames (Good Practice, section IV-A). With temporal "whole" nothing is drawn: frame k of F is
    sampled frame k/F of the video's, and one of few frames shows some of them several times.
    """
    if augmentation.temporal == "whole":
        return [k * n_frames // clip.frames for k in range(clip.frames)]
    scales = augmentation.temporal_scales
    scale = scales[int(rng.integers(len(scales)))] if len(scales) > 1 else scales[0]
    span = max(1, int(clip.span * scale))
    start = int(rng.integers(n_frames - span + 1)) if n_frames > span else 0
    return [(start + k * span // clip.frames) % n_frames for k in range(clip.frames)]


def draw_window(
    seed: tuple[int, ...],
    choice: int,
    n_frames: int,
    fps: float,
    span: int,
    augmentation: Augmentation,
) -> range:
    """Return the frames that clip number `choice` of a video may come from: the whole video, or one of its drawn windows.

    seed: of the video, so that its windows are the same in every epoch. fps: of the sampled frames. span: a clip's, at least
    as many frames as a window must have.
    """
    if augmentation.windows == 0:
        return range(n_frames)
    length = min(n_frames, max(span, round(augmentation.window_seconds * fps)))
    starts = np.random.default_rng(seed).integers(n_frames - length + 1, size=augmentation.windows)
    start = int(starts[choice % augmentation.windows])
    return range(start, start + length)


def draw_crop(
    rng: np.random.Generator, height: int, width: int, crop: int, augmentation: Augmentation
) -> Crop:
    """Draw the part of a (height, width) frame that is shown, for a network whose input is `crop` wide."""
    scales = augmentation.scales
    scale = scales[int(rng.integers(len(scales)))] if scales else None
    side = crop if scale is None else _side(min(height, width), scale)
    bottom, right = height - side, width - side
    if bottom < 0 or right < 0:
        raise UsageError(
            f"frames of {height}x{width} pixels are smaller than the crop of {side}: give larger ones"
        )
    center = Crop(bottom // 2, right // 2, side)
    if augmentation.position == "center":
        return center
    if augmentation.position == "uniform":
        return Crop(int(rng.integers(bottom + 1)), int(rng.integers(right + 1)), side)
    corners = [
        center,
        Crop(0, 0, side),
        Crop(0, right, side),
        Crop(bottom, 0, side),
        Crop(bottom, right, side),
    ]
    return corners[int(rng.integers(len(corners)))]


def draw_flip(rng: np.random.Generator, augmentation: Augmentation) -> bool:
    """Draw whether the clip is mirrored."""
    return bool(rng.random() < augmentation.flip)


def _side(shorter: int, scale: float) -> int:
    return max(1, round(shorter * scale))
