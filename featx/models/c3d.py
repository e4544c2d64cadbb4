"""C3D: eight 3x3x3 convolutions, five poolings, two wide linear layers.

Tran, Bourdev, Fergus, Torresani, Paluri: "Learning Spatiotemporal Features with 3D Convolutional
Networks", arXiv:1412.0767 (2015), figure 3; layer names and details as in the authors' release
(github.com/facebook/C3D, c3d_sport1m_feature_extractor_video.prototxt).
"""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import nn

from featx.clips import ClipSpec
from featx.errors import UsageError
from featx.models._layers import Backbone, Conv3d, check_clips
from featx.models._registry import ModelEntry, register
from featx.transforms import Transform

# Convolutions (name, output channels) and, after them, the pooling (name, temporal size).
STAGES: tuple[tuple[tuple[tuple[str, int], ...], tuple[str, int]], ...] = (
    ((("conv1a", 64),), ("pool1", 1)),
    ((("conv2a", 128),), ("pool2", 2)),
    ((("conv3a", 256), ("conv3b", 256)), ("pool3", 2)),
    ((("conv4a", 512), ("conv4b", 512)), ("pool4", 2)),
    ((("conv5a", 512), ("conv5b", 512)), ("pool5", 2)),
)
FC_WIDTH = 4096


def _conv(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(OrderedDict(conv=Conv3d(inputs, outputs, 3, padding=1), relu=nn.ReLU(inplace=True)))


def _linear(inputs: int, outputs: int, dropout: float) -> nn.Sequential:
    return nn.Sequential(OrderedDict(linear=nn.Linear(inputs, outputs), relu=nn.ReLU(inplace=True), dropout=nn.Dropout(dropout)))


class C3D(Backbone):
    """conv1a ... conv5b, pool1 ... pool5, fc6, fc7, fc8; a layer's output is that after its ReLU.

    Parameters by classifier, in millions: 78.41 with 101 classes (the 78.4 commonly quoted, from
    networks fine-tuned on UCF101), 79.99 with the 487 of Sports-1M, 78.00 without fc8. The 72.9 of
    Tran et al. 2017, section 4, is what 487 classes give when one of the three 512 -> 512
    convolutions (7.08 M) is left out: 72.91; the paper's 38.5 G multiply-adds need all eight.
    """

    classifier = "fc8"

    def __init__(self, *, num_classes: int, dropout: float = 0.5) -> None:
        super().__init__()
        inputs = 3
        for convolutions, (pool, length) in STAGES:
            for name, outputs in convolutions:
                self.add_module(name, _conv(inputs, outputs))
                inputs = outputs
            # Caffe rounds pooled sizes up (facebook/C3D, pool3d_layer.cpp): pool5 makes 4 x 4 of 7 x 7, its last
            # row and column pooling over one instead of two, and fc6 is 512 * 1 * 4 * 4 = 8192 wide. Ports that pad
            # pool5 by (0, 1, 1) get the width too, but pool other windows: rows 0, 1-2, 3-4, 5-6, not 0-1, 2-3, 4-5, 6.
            self.add_module(pool, nn.MaxPool3d((length, 2, 2), ceil_mode=True))
        self.fc6 = _linear(inputs * 4 * 4, FC_WIDTH, dropout)
        self.fc7 = _linear(FC_WIDTH, FC_WIDTH, dropout)
        self.fc8 = nn.Linear(FC_WIDTH, num_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x: (N, 3, 16, 112, 112) -> logits (N, classes)."""
        check_clips(x)
        frames, height, width = x.shape[2:]
        if (-(-frames // 16), -(-height // 32), -(-width // 32)) != (1, 4, 4):
            raise UsageError(f"c3d takes clips of 16 frames of 112x112 pixels, got {frames} of {height}x{width}")
        for convolutions, (pool, _) in STAGES:
            for name, _ in convolutions:
                x = self.get_submodule(name)(x)
            # (N, 64, 16, 56, 56), (N, 128, 8, 28, 28), (N, 256, 4, 14, 14), (N, 512, 2, 7, 7), (N, 512, 1, 4, 4)
            x = self.get_submodule(pool)(x)
        x = self.fc7(self.fc6(x.flatten(1)))
        logits: torch.Tensor = self.fc8(x)
        return logits


# Tran et al. 2015, section 3.3: frames of 128 x 171, crops of 112 x 112, 16 frames a clip. The authors subtract a mean
# volume, sport1m_train16_128_mean.binaryproto; this constant for RGB is MMAction2's (configs/recognition/c3d, mean
# [104, 117, 128], std 1), which stands in for it.
SPORTS1M = Transform(resize=(128, 171), crop=112, mean=(104.0, 117.0, 128.0), std=(1.0, 1.0, 1.0))

register(
    ModelEntry(
        name="c3d",
        family="c3d",
        builder=C3D,
        num_classes=487,  # Sports-1M
        clip=ClipSpec(frames=16, step=1, stride=16),
        transform=SPORTS1M,
        layers=("fc6", "prob"),
        source="Tran et al. 2015 (arXiv:1412.0767), figure 3",
    )
)
