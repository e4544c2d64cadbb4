"""C3D: eight 3x3x3 convolutions, five poolings, two wide linear layers.

Tran, Bourdev, Fergus, Torresani, Paluri: "Learning Spatiotemporal Features with 3D Convolutional
Networks", arXiv:1412.0767 (2015), figure 3; layer names and details as in the authors' release
(github.com/facebook/C3D, c3d_sport1m_feature_extractor_video.prototxt).

Parameters by classifier, in millions: 78.41 with 101 classes (the 78.4 commonly quoted, from networks
fine-tuned on UCF101), 79.99 with the 487 of Sports-1M, 78.00 without fc8. The 72.9 of Tran et al. 2017,
section 4, is what 487 classes give when one of the three 512 -> 512 convolutions (7.08 M) is left out:
72.91; the paper's 38.5 G multiply-adds need all eight.
"""

from __future__ import annotations

from functools import partial

from featx.clips import ClipSpec
from featx.models.layers import Backbone
from featx.models.network import Hidden, Network
from featx.models.registry import ModelEntry, register
from featx.models.rows import Conv, MaxPool, Row
from featx.transforms import Transform

# Output channels of each group of convolutions; a pooling follows each group.
WIDTHS = ((64,), (128,), (256, 256), (512, 512), (512, 512))


def pool(number: int, *, port: bool = False) -> MaxPool:
    """Return C3D's pooling after group `number`: 1 x 2 x 2 after the first, 2 x 2 x 2 after the others.

    Caffe rounds pooled sizes up (facebook/C3D, pool3d_layer.cpp): pool5 makes 4 x 4 of 7 x 7, its last row and column
    pooling over one instead of two, and fc6 is 512 * 1 * 4 * 4 = 8192 wide. Ports to other libraries pad pool5 by
    (0, 1, 1) and get the width too, but pool other windows: rows 0, 1-2, 3-4, 5-6, not 0-1, 2-3, 4-5, 6; their other
    poolings round down. `port` is theirs.
    """
    time = 1 if number == 1 else 2
    return MaxPool(
        name=f"pool{number}",
        kernel=(time, 2, 2),
        stride=(time, 2, 2),
        padding=(0, 1, 1) if port and number == 5 else (0, 0, 0),
        ceil=not port,
    )


def rows(*, port: bool = False) -> list[Row]:
    """Return the layers conv1a, pool1 ... conv5b, pool5."""
    layers: list[Row] = []
    for i, widths in enumerate(WIDTHS, start=1):
        layers += [
            Conv(name=f"conv{i}{'ab'[j]}", width=width, norm=False)
            for j, width in enumerate(widths)
        ]
        layers.append(pool(i, port=port))
    return layers


def build(port: bool, *, num_classes: int, dropout: float = 0.5) -> Backbone:
    """Build C3D; fc6 and fc7 have 4096 outputs."""
    hidden = (Hidden("fc6", 4096), Hidden("fc7", 4096))
    size = (16, 112, 112)
    return Network(
        rows(port=port),
        size=size,
        num_classes=num_classes,
        classifier="fc8",
        hidden=hidden,
        dropout=dropout,
    )


# Tran et al. 2015, section 3.3: frames of 128 x 171, crops of 112 x 112, 16 frames a clip. The authors subtract a mean
# volume, sport1m_train16_128_mean.binaryproto; the constant that ports put in its place, (90, 98, 102) of blue, green and
# red (pytorch-video-recognition, dataloaders/dataset.py), stands in for it here.
SPORTS1M = Transform(resize=(128, 171), crop=112, mean=(102.0, 98.0, 90.0), std=(1.0, 1.0, 1.0))
# MMAction2's preprocessing, configs/recognition/c3d: the shorter side to 128, this mean of red, green and blue.
MMACTION = Transform(resize=128, crop=112, mean=(104.0, 117.0, 128.0), std=(1.0, 1.0, 1.0))
CLIP = ClipSpec(frames=16, step=1, stride=16)

ROWS = (
    # name, whether it pools as ports do, transform, source
    ("c3d", False, SPORTS1M, "Tran et al. 2015 (arXiv:1412.0767), figure 3"),
    # For checkpoints trained in a port, MMAction2's C3D among them.
    ("c3d_padded", True, MMACTION, "as ports to PyTorch pool, MMAction2's among them"),
)

for _name, _port, _transform, _source in ROWS:
    register(
        ModelEntry(
            name=_name,
            family="c3d",
            builder=partial(build, _port),
            num_classes=487,  # Sports-1M
            clip=CLIP,
            transform=_transform,
            layers=("fc6", "prob"),
            source=_source,
        )
    )
