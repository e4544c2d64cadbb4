"""A network as rows of a table: its layers in order, then linear layers."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from featx.errors import UsageError
from featx.models.layers import Backbone, Triple, check_clips
from featx.models.rows import Row


@dataclass(frozen=True)
class Hidden:
    """A linear layer with ReLU and dropout before the classifier."""

    name: str
    width: int


class Network(Backbone):
    """Named layers one after the other, then linear layers; a layer's output is that after its ReLU.

    rows: the layers that make feature volumes.
    hidden: linear layers before the classifier. With them the classifier is preceded by the whole last volume;
        without, by its mean over time and space, which the layer `pool5` gives.
    size: (T, H, W) of the clips in the paper. Other sizes are taken where the layers allow them.
    stacked: take the clip's T frames as 3 * T channels of one frame, as a 2D network does.
    """

    def __init__(
        self,
        rows: Sequence[Row],
        *,
        num_classes: int,
        size: Triple,
        classifier: str = "fc",
        hidden: Sequence[Hidden] = (),
        dropout: float = 0.5,
        stacked: bool = False,
    ) -> None:
        super().__init__()
        self.rows = tuple(rows)
        self.size = size
        self.classifier = classifier
        self.stacked = stacked
        channels = 3 * size[0] if stacked else 3
        self.volume_names = [row.name for row in rows]
        for row in rows:
            self.add_module(row.name, row.build(channels))
            channels = row.outputs(channels)
        if hidden:
            last = [self._through(axis) for axis in range(3)]
            channels *= math.prod(last)
            self.range = tuple(
                self._back(axis, length, exact=True) for axis, length in enumerate(last)
            )
        else:
            self.pool5 = nn.AdaptiveAvgPool3d(1)
            self.range = tuple(self._back(axis, 1, exact=False) for axis in range(3))
        if stacked:
            self.range = ((size[0], size[0]), *self.range[1:])
        self.hidden_names = [layer.name for layer in hidden]
        for layer in hidden:
            parts = OrderedDict(
                linear=nn.Linear(channels, layer.width),
                relu=nn.ReLU(inplace=True),
                dropout=nn.Dropout(dropout),
            )
            self.add_module(layer.name, nn.Sequential(parts))
            channels = layer.width
        self.add_module(classifier, nn.Linear(channels, num_classes))

    def _through(self, axis: int) -> int:
        length = 1 if self.stacked and axis == 0 else self.size[axis]
        for row in self.rows:
            length = row.window(axis).size(length)
        return length

    def _back(self, axis: int, length: int, *, exact: bool) -> tuple[int, int | None]:
        """Return the least and the most input length, None for any, that gives the last volume `length`."""
        least, most = length, length
        for row in reversed(self.rows):
            least = row.window(axis).least(least)
            if exact:
                most = row.window(axis).most(most)
        return least, most if exact else None

    @property
    def minimum(self) -> Triple:
        """The smallest (T, H, W) that it takes."""
        t, h, w = (least for least, _ in self.range)
        return (t, h, w)

    @property
    def takes(self) -> str:
        """The sizes of clips that it takes, in words."""
        (t, t_most), (h, h_most), (w, w_most) = self.range
        frames = (
            f"at least {t}" if t_most is None else f"{t}" if t == t_most else f"{t} to {t_most}"
        )
        noun = "frame" if t == (t_most or 1) == 1 else "frames"
        pixels = f"at least {h}x{w}" if h_most is None else f"{h}x{w} to {h_most}x{w_most}"
        return f"{frames} {noun} of {pixels} pixels"

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x: (N, 3, T, H, W) -> logits (N, classes)."""
        check_clips(x)
        self._check(x)
        if self.stacked:
            x = (
                x.transpose(1, 2).flatten(1, 2).unsqueeze(2)
            )  # (N, 3 T, 1, H, W), a frame's three channels together
        for name in self.volume_names:
            x = self.get_submodule(name)(x)
        if not self.hidden_names:
            x = self.pool5(x)
        x = x.flatten(1)
        for name in self.hidden_names:
            x = self.get_submodule(name)(x)
        logits: torch.Tensor = self.get_submodule(self.classifier)(x)
        return logits

    def _check(self, x: torch.Tensor) -> None:
        found = x.shape[2:]
        if all(
            least <= length and (most is None or length <= most)
            for length, (least, most) in zip(found, self.range, strict=True)
        ):
            return
        raise UsageError(
            f"this network, made for clips of {self.size[0]} frames of {self.size[1]}x{self.size[2]} pixels,"
            f" takes {self.takes}, got {found[0]} frames of {found[1]}x{found[2]}"
        )
