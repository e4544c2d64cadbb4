"""From decoded uint8 frames, or flow images, to model input: inference presets that travel with a checkpoint."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, get_args

from featx.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import torch

Crops = Literal["center", "ten"]
Input = Literal["rgb", "flow", "rgbf"]
FlowMethod = Literal["tvl1", "dis", "farneback"]
# A flow image's value for no motion, in every channel; motion to the right lies above it, to the left below (`flow.flow_image`).
FLOW_ZERO = 128


def check_crop(crop: int) -> None:
    """Raise UsageError for the side of a network's input that no network has."""
    if not 1 <= crop <= 1024:
        raise UsageError(f"crop is {crop}: give 1 to 1024 pixels")


@dataclass(frozen=True, kw_only=True)
class Transform:
    """How frames become model input.

    Attributes:
        resize: (height, width) of the frame before cropping, or one int for the shorter side, aspect kept.
        crop: Side of the square crop in pixels.
        mean, std: Per channel (R, G, B) in units of 0..255 pixels: input = (pixel - mean) / std.
        crops: "center", or "ten": four corners and centre, each also mirrored; features are averaged over them.
        flip: Average the features of each crop with those of its mirror image ("ten" has them already).
        input: "rgb"; "flow", images of dx, dy and magnitude; or "rgbf", RGB where something moves (see
            `featx.video.flow`).
        flow: Method that the flow is computed by: "tvl1", "dis" or "farneback"; None for "rgb".
    """

    resize: tuple[int, int] | int
    crop: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    crops: Crops = "center"
    flip: bool = False
    input: Input = "rgb"
    flow: FlowMethod | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.crop <= self.shorter:
            raise UsageError(
                f"crop is {self.crop}: give 1 to {self.shorter}, the resized frame's shorter side"
            )
        if self.crops not in get_args(Crops):
            raise UsageError(f"crops is {self.crops!r}: give one of {', '.join(get_args(Crops))}")
        for name, values in (("mean", self.mean), ("std", self.std)):
            sound = len(values) == 3 and all(
                isinstance(v, int | float) and math.isfinite(v) for v in values
            )
            if not sound:
                raise UsageError(
                    f"{name} is {values!r}: give three numbers, one each for red, green and blue"
                )
        if min(self.std) <= 0:
            raise UsageError(f"std is {self.std}: every channel's must be above 0")
        if self.input not in get_args(Input):
            raise UsageError(f"input is {self.input!r}: give one of {', '.join(get_args(Input))}")
        if self.input == "rgb" and self.flow is not None:
            raise UsageError(
                f"flow is {self.flow!r} where the input is rgb, which has none: leave flow out, or give input flow or rgbf"
            )
        if self.input != "rgb" and self.flow not in get_args(FlowMethod):
            raise UsageError(
                f"flow is {self.flow!r} where the input is {self.input}: give one of {', '.join(get_args(FlowMethod))}"
            )

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Transform:
        """Rebuild a transform from `to_dict`'s values, lists or tuples alike."""
        fixed: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in values.items()
        }
        return cls(**fixed)

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as plain JSON values, as they are stored in a checkpoint or feature file.

        Without `input` and `flow` for RGB: as in the files that were written before there were others.
        """
        values = {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}
        return {
            k: v for k, v in values.items() if self.input != "rgb" or k not in ("input", "flow")
        }

    def at(self, crop: int) -> Transform:
        """Return the preprocessing with another crop, of frames resized in proportion."""
        factor = crop / self.crop
        if isinstance(self.resize, int):
            return replace(self, resize=max(crop, round(self.resize * factor)), crop=crop)
        return replace(
            self,
            resize=(
                max(crop, round(self.resize[0] * factor)),
                max(crop, round(self.resize[1] * factor)),
            ),
            crop=crop,
        )

    def frame_size(self, height: int, width: int) -> tuple[int, int]:
        """Return what a frame is resized to.

        Args:
            height, width: The frame's size in pixels.

        Returns:
            (height, width) in pixels.
        """
        if isinstance(self.resize, tuple):
            return self.resize
        short = min(height, width)
        return (
            max(self.resize, round(height * self.resize / short)),
            max(self.resize, round(width * self.resize / short)),
        )

    def boxes(self, height: int, width: int) -> list[tuple[int, int]]:
        """Return where a resized frame's crops lie: at the centre, and for "ten" at the four corners too.

        Args:
            height, width: The resized frame's size in pixels.

        Returns:
            (top, left) of each crop in pixels.
        """
        bottom, right = height - self.crop, width - self.crop
        center = (bottom // 2, right // 2)
        return (
            [center]
            if self.crops == "center"
            else [center, (0, 0), (0, right), (bottom, 0), (bottom, right)]
        )

    @property
    def shorter(self) -> int:
        """Shorter side, in pixels, of a resized frame."""
        return self.resize if isinstance(self.resize, int) else min(self.resize)

    @property
    def n_crops(self) -> int:
        """How many crops of a frame are kept."""
        return 5 if self.crops == "ten" else 1

    @property
    def mirrors(self) -> tuple[bool, ...]:
        """Which of (as it is, mirrored) are averaged into a row."""
        return (False, True) if self.flip or self.crops == "ten" else (False,)

    def cut(self, image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """Cut a resized frame's crops: (H, W, 3) uint8 -> (n_crops, crop, crop, 3) uint8."""
        import numpy as np  # not needed by `featx --help`, which imports this module

        side = self.crop
        return np.stack(
            [
                image[top : top + side, left : left + side]
                for top, left in self.boxes(*image.shape[:2])
            ]
        )

    def normalise(self, clips: torch.Tensor, *, mirrored: bool = False) -> torch.Tensor:
        """Make model input of cut clips, on their device.

        Args:
            clips: (N, T, crop, crop, 3) uint8.
            mirrored: Whether they are shown in the mirror. What moves to the right moves to the left there: dx of flow
                images changes its sign too.

        Returns:
            (N, 3, T, crop, crop) float32, channels_last_3d in memory.
        """
        x = clips.float()
        if mirrored and self.input == "flow":
            x = x.clone() if x is clips else x
            x[..., 0] = 2 * FLOW_ZERO - x[..., 0]
        x = (x - _constant(self.mean, x)) / _constant(self.std, x)
        if mirrored:
            x = x.flip(3)
        # (N, T, H, W, 3) permuted is channels_last_3d already: nothing is copied.
        return x.permute(0, 4, 1, 2, 3)


# Means and deviations on the devices they were needed on: to bring them there means to wait for all that a GPU has to do.
_CONSTANTS: dict[tuple[tuple[float, ...], torch.device], torch.Tensor] = {}


def _constant(values: tuple[float, ...], x: torch.Tensor) -> torch.Tensor:
    """Return numbers on the device of `x`, of its type, brought there once."""
    found = _CONSTANTS.get((values, x.device))
    if found is None:
        found = _CONSTANTS[values, x.device] = x.new_tensor(values)
    return found


# Tran et al. 2017, section 3.2: frames scaled to 128 x 171, crops of 112 x 112; the authors'
# released network subtracts 128 from each pixel.
TRAN2017 = Transform(resize=(128, 171), crop=112, mean=(128.0, 128.0, 128.0), std=(1.0, 1.0, 1.0))
