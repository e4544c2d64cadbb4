"""From decoded uint8 frames to model input: inference presets that travel with a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

from featx.errors import UsageError

if TYPE_CHECKING:
    import torch

Crops = Literal["center", "ten"]


@dataclass(frozen=True, kw_only=True)
class Transform:
    """How frames become model input.

    resize: (height, width) of the frame before cropping, or one int for the shorter side, aspect kept.
    crop: side of the square crop in pixels.
    mean, std: per channel (R, G, B) in units of 0..255 pixels: input = (pixel - mean) / std.
    crops: "center", or "ten": four corners and centre, each also mirrored; features are averaged over them.
    flip: average the features of each crop with those of its mirror image ("ten" has them already).
    """

    resize: tuple[int, int] | int
    crop: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    crops: Crops = "center"
    flip: bool = False

    def __post_init__(self) -> None:
        smallest = self.resize if isinstance(self.resize, int) else min(self.resize)
        if not 1 <= self.crop <= smallest:
            raise UsageError(f"crop is {self.crop}: give 1 to {smallest}, the resized frame's shorter side")
        if self.crops not in get_args(Crops):
            raise UsageError(f"crops is {self.crops!r}: give one of {', '.join(get_args(Crops))}")
        if min(self.std) <= 0:
            raise UsageError(f"std is {self.std}: every channel's must be above 0")

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Transform:
        """Rebuild a transform from `to_dict`'s values, lists or tuples alike."""
        fixed = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
        return cls(**fixed)

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as plain JSON values, as they are stored in a checkpoint or feature file."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}

    def frame_size(self, height: int, width: int) -> tuple[int, int]:
        """Return the (height, width) to which a frame of this size is resized."""
        if isinstance(self.resize, tuple):
            return self.resize
        short = min(height, width)
        return (
            max(self.resize, round(height * self.resize / short)),
            max(self.resize, round(width * self.resize / short)),
        )

    def stored_box(self, height: int, width: int) -> tuple[int, int, int, int]:
        """Return (top, left, height, width) of what must be kept of a resized frame for all the crops."""
        if self.crops == "center":
            top, left = _center(height, width, self.crop)
            return top, left, self.crop, self.crop
        return 0, 0, height, width

    @property
    def n_views(self) -> int:
        """How many crops, mirrored ones included, are averaged into one row."""
        return 10 if self.crops == "ten" else 2 if self.flip else 1

    def view(self, clips: torch.Tensor, number: int) -> torch.Tensor:
        """Return view `number` of a batch as normalised model input, on the batch's device.

        clips: (N, T, H, W, 3) uint8 -> (N, 3, T, crop, crop) float32, channels_last_3d in memory.
        """
        import torch

        height, width = clips.shape[2:4]
        mirrored = number >= self.n_views // 2 if self.n_views > 1 else False
        corners = [_center(height, width, self.crop)]
        if self.crops == "ten":
            bottom, right = height - self.crop, width - self.crop
            corners += [(0, 0), (0, right), (bottom, 0), (bottom, right)]
        top, left = corners[number % len(corners)]
        x = clips[:, :, top : top + self.crop, left : left + self.crop].to(torch.float32)
        x = (x - x.new_tensor(self.mean)) / x.new_tensor(self.std)
        if mirrored:
            x = x.flip(3)
        # (N, T, H, W, 3) permuted is channels_last_3d already: nothing is copied.
        return x.permute(0, 4, 1, 2, 3)


def _center(height: int, width: int, crop: int) -> tuple[int, int]:
    return (height - crop) // 2, (width - crop) // 2


# Tran et al. 2017, section 3.2: frames scaled to 128 x 171, crops of 112 x 112; the authors'
# released network subtracts 128 from each pixel.
TRAN2017 = Transform(resize=(128, 171), crop=112, mean=(128.0, 128.0, 128.0), std=(1.0, 1.0, 1.0))
