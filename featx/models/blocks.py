"""What networks are built of: units of convolution, residual and dense blocks, asymmetric convolutions and MicroNets."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Literal

import torch
from torch import nn
from torch.nn import functional

from featx.models.layers import AvgPool3d, Conv3d, ConvBN, Triple

Shortcut = Literal["projection", "zeros"]


class ConvReLU(nn.Sequential):
    """3D convolution with bias, padded to keep the size, and a ReLU; children `conv`, `relu`."""

    def __init__(
        self, inputs: int, outputs: int, kernel: Triple, stride: Triple = (1, 1, 1)
    ) -> None:
        padding = (kernel[0] // 2, kernel[1] // 2, kernel[2] // 2)
        super().__init__(
            OrderedDict(
                conv=Conv3d(inputs, outputs, kernel, stride, padding), relu=nn.ReLU(inplace=True)
            )
        )


class SplitConvBN(nn.Sequential):
    """A 1 x d x d and a t x 1 x 1 convolution instead of one t x d x d, each with batch norm; children `spatial`, `temporal`.

    The stride is split likewise. A ReLU follows the first, and the second where asked.
    """

    def __init__(
        self, inputs: int, middle: int, outputs: int, kernel: Triple, stride: Triple, *, relu: bool
    ) -> None:
        super().__init__()
        self.spatial = ConvBN(inputs, middle, (1, *kernel[1:]), (1, *stride[1:]), relu=True)
        self.temporal = ConvBN(middle, outputs, (kernel[0], 1, 1), (stride[0], 1, 1), relu=relu)


class ZeroPad(nn.Module):
    """Shortcut of type A (He et al. 2016, section 4.1): every stride-th position, and zeros for the channels that are new."""

    def __init__(self, inputs: int, outputs: int, stride: Triple) -> None:
        super().__init__()
        self.new = outputs - inputs
        self.stride = stride

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x: (N, inputs, T, H, W) -> (N, outputs, T', H', W'); gradients reach x."""
        t, h, w = self.stride
        return functional.pad(x[:, :, ::t, ::h, ::w], (0, 0, 0, 0, 0, 0, 0, self.new))


class Residual(nn.Module):
    """relu(F(x) + shortcut(x)): F is `conv1`, `conv2` (and `conv3`); the shortcut x itself, a `projection` or a `zero_pad`."""

    def __init__(self, units: Sequence[nn.Module], shortcut: nn.Module | None) -> None:
        super().__init__()
        self.unit_names = [f"conv{i}" for i in range(1, len(units) + 1)]
        for name, unit in zip(self.unit_names, units, strict=True):
            self.add_module(name, unit)
        self.projection = shortcut if isinstance(shortcut, ConvBN) else None
        self.zero_pad = shortcut if isinstance(shortcut, ZeroPad) else None
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x: (N, inputs, T, H, W) -> (N, outputs, T', H', W')."""
        shortcut = x
        if self.projection is not None:
            shortcut = self.projection(x)
        elif self.zero_pad is not None:
            shortcut = self.zero_pad(x)
        for name in self.unit_names:
            x = self.get_submodule(name)(x)
        y: torch.Tensor = self.relu(x + shortcut)
        return y


class NormReLU(nn.Sequential):
    """Batch norm and ReLU before a convolution, as DenseNets have them; children `bn`, `relu`."""

    def __init__(self, channels: int) -> None:
        super().__init__(OrderedDict(bn=nn.BatchNorm3d(channels), relu=nn.ReLU(inplace=True)))


class DenseLayer(nn.Module):
    """x and, after its channels, `growth` new ones: norm1, a 1x1x1 convolution to 4 * growth, norm2, a wider convolution.

    `conv1` holds the first convolution with norm2, so that inference can fold the two.
    """

    def __init__(self, inputs: int, growth: int, kernel: Triple) -> None:
        super().__init__()
        self.norm1 = NormReLU(inputs)
        self.conv1 = ConvBN(inputs, 4 * growth, (1, 1, 1), (1, 1, 1), relu=True)
        self.conv2 = Conv3d(
            4 * growth,
            growth,
            kernel,
            padding=(kernel[0] // 2, kernel[1] // 2, kernel[2] // 2),
            bias=False,
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x: (N, C, T, H, W) -> (N, C + growth, T, H, W)."""
        return torch.cat([x, self.conv2(self.conv1(self.norm1(x)))], dim=1)


class Transition(nn.Sequential):
    """Between dense blocks: norm, ReLU, 1x1x1 convolution, average pooling; children `norm`, `conv`, `pool`."""

    def __init__(self, inputs: int, outputs: int, pool: Triple) -> None:
        super().__init__(
            OrderedDict(
                norm=NormReLU(inputs),
                conv=Conv3d(inputs, outputs, 1, bias=False),
                pool=AvgPool3d(pool, pool),
            )
        )


class Asymmetric(nn.Sequential):
    """Three one-directional convolutions: over height (1 x k x 1), width (1 x 1 x k) and time (3 x 1 x 1), a ReLU after each.

    Yang et al., section 3.1, equations 3 to 6, with D = M = N outputs; figure 2.
    """

    def __init__(self, inputs: int, outputs: int, extent: int) -> None:
        super().__init__(
            OrderedDict(
                height=ConvReLU(inputs, outputs, (1, extent, 1)),
                width=ConvReLU(outputs, outputs, (1, 1, extent)),
                time=ConvReLU(outputs, outputs, (3, 1, 1)),
            )
        )


class MicroNet(nn.Module):
    """Columns of several scales side by side, their outputs concatenated: x -> left, middle, right.

    left: a 1x1x1 `left_linear`, then two 3x3x3 convolutions or one asymmetric one of extent 5. right: a 1x1x1
    `linear`. middle: a 3x3x3 convolution, or an asymmetric one of extent 3, of what `linear` gives.
    Yang et al., section 3.2 and figure 3; how the widths were found is beside the table in asymmetric.py.
    """

    def __init__(
        self, inputs: int, widths: tuple[int, int, int, int], *, left: bool, middle: bool
    ) -> None:
        """widths: outputs of left_linear, left, linear, middle; left, middle: whether that column is asymmetric."""
        super().__init__()
        narrow, left_width, linear, middle_width = widths
        self.left_linear = ConvReLU(inputs, narrow, (1, 1, 1))
        self.left: nn.Sequential
        if left:
            self.left = Asymmetric(narrow, left_width, 5)
        else:
            self.left = nn.Sequential(
                OrderedDict(
                    conv1=ConvReLU(narrow, left_width, (3, 3, 3)),
                    conv2=ConvReLU(left_width, left_width, (3, 3, 3)),
                )
            )
        self.linear = ConvReLU(inputs, linear, (1, 1, 1))
        self.middle: nn.Sequential = (
            Asymmetric(linear, middle_width, 3)
            if middle
            else ConvReLU(linear, middle_width, (3, 3, 3))
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x: (N, inputs, T, H, W) -> (N, left + middle + linear, T, H, W)."""
        right = self.linear(x)
        return torch.cat([self.left(self.left_linear(x)), self.middle(right), right], dim=1)
