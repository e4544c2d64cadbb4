"""The rows that networks are made of: each one named layer, how it is built and how it changes a volume's size."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections import OrderedDict
from dataclasses import dataclass
from typing import Literal

from torch import nn

from featx.models.blocks import (
    Asymmetric,
    ConvReLU,
    DenseLayer,
    MicroNet,
    NormReLU,
    Residual,
    Shortcut,
    SplitConvBN,
    Transition,
    ZeroPad,
)
from featx.models.layers import ConvBN, Triple

ONE: Triple = (1, 1, 1)
# How many channels lie between the two halves of a split convolution; see `middle_width`.
Split = Literal["2.5d", "r2plus1d"]


@dataclass(frozen=True)
class Window:
    """How a layer's output positions lie on its input along one axis: those of a convolution or a pooling."""

    kernel: int = 1
    stride: int = 1
    padding: int = 0
    ceil: bool = False

    def size(self, length: int) -> int:
        """Return the output's length for an input's."""
        room = length + 2 * self.padding - self.kernel
        steps = -(-room // self.stride) if self.ceil else room // self.stride
        # A last window that would start in the padding on the right is left out, as torch and Caffe do.
        if self.ceil and steps * self.stride >= length + self.padding:
            steps -= 1
        return steps + 1

    def least(self, length: int) -> int:
        """Return the shortest input whose output has at least `length`."""
        tried = 1
        while self.size(tried) < length:
            tried += 1
        return tried

    def most(self, length: int) -> int:
        """Return the longest input whose output has at most `length`."""
        tried = self.least(length)
        while self.size(tried + 1) <= length:
            tried += 1
        return tried


@dataclass(frozen=True, kw_only=True)
class Row(ABC):
    """One named layer of a network."""

    name: str

    @abstractmethod
    def build(self, inputs: int) -> nn.Module:
        """Make the layer for that many input channels."""

    @abstractmethod
    def outputs(self, inputs: int) -> int:
        """Return how many channels come out."""

    def window(self, axis: int) -> Window:
        """Return how it moves along time (0), height (1) or width (2)."""
        return Window()

    @property
    def spatial(self) -> bool:
        """Whether it treats every frame on its own."""
        return True


@dataclass(frozen=True, kw_only=True)
class Sliding(Row):
    """A row whose kernel moves over the clip, padded to keep the size."""

    kernel: Triple = (3, 3, 3)
    stride: Triple = ONE

    def window(self, axis: int) -> Window:
        return Window(self.kernel[axis], self.stride[axis], self.kernel[axis] // 2)

    @property
    def spatial(self) -> bool:
        return self.kernel[0] == self.stride[0] == 1


@dataclass(frozen=True, kw_only=True)
class Conv(Sliding):
    """A convolution, padded to keep the size, with batch norm and ReLU, or with bias and ReLU where `norm` is False.

    split: a 1 x d x d and a t x 1 x 1 convolution instead, with `middle_width` channels between them.
    """

    width: int
    norm: bool = True
    split: Split | None = None
    middle: int | None = None

    def build(self, inputs: int) -> nn.Module:
        if not self.norm:
            return ConvReLU(inputs, self.width, self.kernel, self.stride)
        middle = self.middle or middle_width(inputs, self.width, self.kernel[1], self.split)
        if middle is not None:
            return SplitConvBN(inputs, middle, self.width, self.kernel, self.stride, relu=True)
        return ConvBN(inputs, self.width, self.kernel, self.stride, relu=True)

    def outputs(self, inputs: int) -> int:
        return self.width


@dataclass(frozen=True, kw_only=True)
class Block(Sliding):
    """A residual block: two convolutions of `width`, or with `bottleneck` 1x1x1, `kernel`, 1x1x1 and 4 * width outputs.

    shortcut: what replaces x where its shape changes, and with `always` even where it does not.
    """

    width: int
    bottleneck: bool = False
    shortcut: Shortcut = "projection"
    always: bool = False
    split: Split | None = None

    def build(self, inputs: int) -> nn.Module:
        outputs, width = self.outputs(inputs), self.width
        if self.bottleneck:
            units: list[nn.Module] = [
                ConvBN(inputs, width, ONE, ONE, relu=True),
                ConvBN(width, width, self.kernel, self.stride, relu=True),
                ConvBN(width, outputs, ONE, ONE, relu=False),
            ]
        else:
            units = [
                self._unit(inputs, inputs, self.stride, relu=True),
                self._unit(inputs, width, ONE, relu=False),
            ]
        return Residual(units, self._shortcut(inputs, outputs))

    def _unit(self, block_inputs: int, inputs: int, stride: Triple, *, relu: bool) -> nn.Module:
        # torchvision's R(2+1)D takes the block's inputs for both of its convolutions.
        middle = middle_width(
            block_inputs if self.split == "r2plus1d" else inputs,
            self.width,
            self.kernel[1],
            self.split,
        )
        if middle is None:
            return ConvBN(inputs, self.width, self.kernel, stride, relu=relu)
        return SplitConvBN(inputs, middle, self.width, self.kernel, stride, relu=relu)

    def _shortcut(self, inputs: int, outputs: int) -> nn.Module | None:
        if inputs == outputs and self.stride == ONE and not self.always:
            return None
        if self.shortcut == "zeros":
            return ZeroPad(inputs, outputs, self.stride)
        return ConvBN(inputs, outputs, ONE, self.stride, relu=False)

    def outputs(self, inputs: int) -> int:
        return 4 * self.width if self.bottleneck else self.width


@dataclass(frozen=True, kw_only=True)
class MaxPool(Sliding):
    """Max pooling; `ceil` rounds sizes up, as Caffe does."""

    padding: Triple = (0, 0, 0)
    ceil: bool = False

    def build(self, inputs: int) -> nn.Module:
        return nn.MaxPool3d(self.kernel, self.stride, self.padding, ceil_mode=self.ceil)

    def outputs(self, inputs: int) -> int:
        return inputs

    def window(self, axis: int) -> Window:
        return Window(self.kernel[axis], self.stride[axis], self.padding[axis], self.ceil)


@dataclass(frozen=True, kw_only=True)
class DenseBlock(Row):
    """`layers` densely connected layers, each adding `growth` channels; children `denselayer1` ..."""

    layers: int
    kernel: Triple = (3, 3, 3)
    growth: int = 32

    def build(self, inputs: int) -> nn.Module:
        made = (
            (f"denselayer{i + 1}", DenseLayer(inputs + i * self.growth, self.growth, self.kernel))
            for i in range(self.layers)
        )
        return nn.Sequential(OrderedDict(made))

    def outputs(self, inputs: int) -> int:
        return inputs + self.layers * self.growth

    @property
    def spatial(self) -> bool:
        return self.kernel[0] == 1


@dataclass(frozen=True, kw_only=True)
class Shrink(Row):
    """A DenseNet's transition: a 1x1x1 convolution to half the channels, or to all of them with `halve` False, and pooling."""

    pool: Triple
    halve: bool = True

    def build(self, inputs: int) -> nn.Module:
        return Transition(inputs, self.outputs(inputs), self.pool)

    def outputs(self, inputs: int) -> int:
        return inputs // 2 if self.halve else inputs

    def window(self, axis: int) -> Window:
        return Window(self.pool[axis], self.pool[axis])

    @property
    def spatial(self) -> bool:
        return self.pool[0] == 1


@dataclass(frozen=True, kw_only=True)
class Norm(Row):
    """Batch norm and ReLU after the last dense block."""

    def build(self, inputs: int) -> nn.Module:
        return NormReLU(inputs)

    def outputs(self, inputs: int) -> int:
        return inputs


@dataclass(frozen=True, kw_only=True)
class AsymmetricConv(Row):
    """1 x extent x 1, 1 x 1 x extent and 3 x 1 x 1 convolutions in a row."""

    width: int
    extent: int

    def build(self, inputs: int) -> nn.Module:
        return Asymmetric(inputs, self.width, self.extent)

    def outputs(self, inputs: int) -> int:
        return self.width

    @property
    def spatial(self) -> bool:
        return False


@dataclass(frozen=True, kw_only=True)
class Micro(Row):
    """A MicroNet; widths as in `_blocks.MicroNet`, left and middle: whether those columns are asymmetric."""

    widths: tuple[int, int, int, int]
    left: bool
    middle: bool

    def build(self, inputs: int) -> nn.Module:
        return MicroNet(inputs, self.widths, left=self.left, middle=self.middle)

    def outputs(self, inputs: int) -> int:
        _, left, linear, middle = self.widths
        return left + middle + linear

    @property
    def spatial(self) -> bool:
        return False


def block_name(group: str, number: int, of: int) -> str:
    """Return the name of a residual block: res4a, res4b ...; of more than 26 res4a, res4b1, res4b2 ..., as He et al. count."""
    if of <= 26:
        return f"{group}{'abcdefghijklmnopqrstuvwxyz'[number]}"
    return f"{group}{f'b{number}' if number else 'a'}"


def middle_width(inputs: int, outputs: int, extent: int, split: Split | None) -> int | None:
    """Return the channels between the halves of a split 3 x d x d convolution, or None for one that is whole.

    2.5d: i = ceil(3 m n d^2 / (n d^2 + 3 m)) (Tran et al. 2017, section 3.5); r2plus1d: the same rounded
    down (Tran et al. 2018, section 3.5).
    """
    if split is None:
        return None
    top, bottom = 3 * outputs * inputs * extent**2, inputs * extent**2 + 3 * outputs
    return math.ceil(top / bottom) if split == "2.5d" else top // bottom
