"""What the families share: the backbone's conventions, conv + batch norm + ReLU, weight initialisation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from featx.clips import ClipSpec
from featx.errors import UsageError
from featx.transforms import Transform

Triple = tuple[int, int, int]  # time, height, width


class Backbone(nn.Module):
    """A network from clips to logits, x: (N, 3, T, H, W) -> (N, classes), whose named layers are submodules.

    A layer's output is what the submodule of that name returns; where the papers' Caffe networks
    apply a ReLU in place, that is the activation after the ReLU. `prob`, the softmax of the logits,
    is no submodule: whoever extracts it computes it.
    """

    #: Name of the last linear layer, whose rows are the classes.
    classifier: str
    #: False for weights that came without a classifier: there it is NaN, and what it gives cannot be had.
    has_classifier: bool = True

    #: The clips and the preprocessing that `featx.create_model` gave it with: its weights' own, or the model's.
    clip: ClipSpec
    transform: Transform
    #: Class names in the order of the logits, where `featx.create_model` knows them.
    labels: tuple[str, ...] | None = None
    #: Name, sha256, source and licence of the weights that `featx.create_model` loaded, and `note` for what was
    #: changed or assumed in loading; None for an untrained network.
    weights_info: Mapping[str, Any] | None = None

    @property
    def minimum(self) -> Triple:
        """The smallest clip, (T, H, W), that it takes."""
        return (1, 1, 1)

    @property
    def takes(self) -> str:
        """The sizes of clips that it takes, in words."""
        return "at least {} frames of {}x{} pixels".format(*self.minimum)

    @property
    def num_classes(self) -> int:
        """Rows of the classifier."""
        layer = self.get_submodule(self.classifier)
        if not isinstance(layer, nn.Linear):
            raise TypeError(f"{type(self).__name__}.{self.classifier} must be nn.Linear")
        return layer.out_features

    @torch.no_grad()
    def initialise(self, generator: torch.Generator | None = None) -> None:
        """Fill every parameter and buffer: He normal (fan out) for convolutions, N(0, 0.01) for linear layers, zero biases.

        Source: the msra/FAN_OUT and gaussian fillers of the Res3D authors' network definition
        (facebook/C3D, c3d_resnet18_ucf101_feature_extraction.prototxt). Without a generator the
        numbers come from torch's global one.
        """
        self.has_classifier = True
        for module in self.modules():
            if isinstance(module, nn.Conv3d):
                nn.init.kaiming_normal_(
                    module.weight, mode="fan_out", nonlinearity="relu", generator=generator
                )
            elif isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=0.01, generator=generator)
            elif isinstance(module, nn.BatchNorm3d):
                module.reset_parameters()
            if isinstance(module, nn.Conv3d | nn.Linear) and module.bias is not None:
                nn.init.zeros_(module.bias)


class Conv3d(nn.Conv3d):
    """nn.Conv3d, right for a single frame in bf16 too.

    Measured with torch 2.13 on a processor with AMX: a bf16 forward pass with a temporal kernel of 3 or
    more, 1, 3 or another number below 16 of input channels, and a clip of one frame gives garbage or NaN.
    All taps but the middle one meet padding there, so the middle one alone is the same convolution.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x: (N, in_channels, T, H, W) -> (N, out_channels, T', H', W')."""
        length = self.kernel_size[0]
        if (
            x.dtype != torch.bfloat16
            or x.shape[2] != 1
            or self.in_channels >= 16
            or self.padding[0] != length // 2
        ):
            return super().forward(x)
        weight = self.weight[:, :, length // 2 : length // 2 + 1]
        padding = (0, *self.padding[1:])
        return functional.conv3d(
            x, weight, self.bias, self.stride, padding, self.dilation, self.groups
        )


class AvgPool3d(nn.AvgPool3d):
    """nn.AvgPool3d, in bf16 too: torch 2.13 has no such kernel for CPUs, so the mean is taken in float32 and rounded once."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x: (N, C, T, H, W) -> (N, C, T', H', W')."""
        return super().forward(x.float()).to(x.dtype)


class ConvBN(nn.Sequential):
    """3D convolution without bias, batch norm, and a ReLU where asked; children `conv`, `bn`, `relu`."""

    def __init__(
        self, inputs: int, outputs: int, kernel: Triple, stride: Triple, *, relu: bool
    ) -> None:
        super().__init__()
        padding = (kernel[0] // 2, kernel[1] // 2, kernel[2] // 2)
        self.conv = Conv3d(inputs, outputs, kernel, stride, padding, bias=False)
        self.bn = nn.BatchNorm3d(outputs)
        if relu:
            self.relu = nn.ReLU(inplace=True)


def check_clips(x: torch.Tensor) -> None:
    """Raise UsageError unless `x` is a batch of clips (N, 3, T, H, W)."""
    if x.dim() != 5 or x.shape[1] != 3:
        raise UsageError(f"a model takes clips of shape (N, 3, T, H, W), got {tuple(x.shape)}")
