"""Semi-CNNs, which begin in 2D, go on in time and end in 3D, and the 2D and 3D networks beside them.

Leong, Prasad, Lee, Lin: "Semi-CNN Architecture for Effective Spatio-Temporal Learning in Action
Recognition", Applied Sciences 10(2), 2020: tables 1, 2 and A1. The blocks are those of VGG (Simonyan and
Zisserman, arXiv:1409.1556), ResNet (He et al., CVPR 2016) and DenseNet (Huang et al., CVPR 2017).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from featx.clips import ClipSpec
from featx.models import c3d, hara
from featx.models.layers import Backbone, Triple
from featx.models.network import Hidden, Network
from featx.models.registry import ModelEntry, register
from featx.models.rows import Block, Conv, DenseBlock, MaxPool, Norm, Row, Shrink, block_name
from featx.transforms import Transform

SIZE: Triple = (16, 224, 224)
FLAT: Triple = (1, 3, 3)  # a spatial convolution
ALONG: Triple = (3, 1, 1)  # a temporal one
FULL: Triple = (3, 3, 3)
FC = (Hidden("fc6", 4096), Hidden("fc7", 4096))

# ---------------------------------------------------------------- VGG-16

VGG_WIDTHS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))


def vgg_2d() -> list[Row]:
    """Return VGG-16's 13 convolutions and 5 poolings, each of a single frame."""
    layers: list[Row] = []
    for i, widths in enumerate(VGG_WIDTHS, start=1):
        layers += [
            Conv(name=f"conv{i}_{j}", width=w, kernel=FLAT, norm=False)
            for j, w in enumerate(widths, start=1)
        ]
        layers.append(MaxPool(name=f"pool{i}", kernel=(1, 2, 2), stride=(1, 2, 2)))
    return layers


def vgg_3d() -> list[Row]:
    """Return C3D's layers. Table 2's 179.1 M need a pool5 that makes 8 x 8 of 14 x 14: padded by one, as ports of C3D have it."""
    return c3d.rows(port=True)


def vgg_semi() -> list[Row]:
    """Return semi-VGG-16: (9, 1, 3) spatial, temporal and spatio-temporal convolutions (table 1).

    The nine are conv1_1 to conv4_2: their 5.3 M are table 2's pre-trained ones. 82.2 M in all need an fc6 of
    512 x 2 x 3 x 3 inputs (section 3.2's 2 x 3 x 3, without global pooling). So the 8 x 14 x 14 behind the temporal
    pooling are pooled twice; the text does not say where: here as in table A1's ResNet, one spatio-temporal
    convolution at 8 x 14 x 14 and the rest at 4 x 7 x 7, and a pooling last, as VGG has it.
    """
    layers = vgg_2d()[:12]  # conv1_1 ... pool3, conv4_1, conv4_2
    return [
        *layers,
        MaxPool(name="pool4", kernel=(1, 2, 2), stride=(1, 2, 2)),
        Conv(name="conv4_3", width=512, kernel=ALONG, norm=False),
        MaxPool(name="pool4t", kernel=(3, 1, 1), stride=(2, 1, 1), padding=(1, 0, 0)),
        Conv(name="conv5_1", width=512, norm=False),
        MaxPool(name="pool5a", kernel=(2, 2, 2), stride=(2, 2, 2)),
        Conv(name="conv5_2", width=512, norm=False),
        Conv(name="conv5_3", width=512, norm=False),
        MaxPool(name="pool5", kernel=(2, 2, 2), stride=(2, 2, 2)),
    ]


# ---------------------------------------------------------------- ResNets

# depth: table 1's ([spatial], [temporal], [spatio-temporal]) blocks. Those of conv3_x are the second spatial and the temporal
# ones, those of conv4_x the first two spatio-temporal ones, so that each group has as many as the 2D network.
SEMI_RESNETS: dict[int, tuple[tuple[int, int], int, tuple[int, int, int]]] = {
    18: ((2, 1), 1, (1, 1, 2)),
    34: ((3, 2), 2, (3, 3, 3)),
    50: ((3, 2), 2, (3, 3, 3)),
    101: ((3, 2), 2, (12, 11, 3)),
    152: ((3, 4), 4, (18, 18, 3)),
}


def resnet_2d(depth: int) -> list[Row]:
    """Return the 2D ResNet's layers, each of a single frame (table A1, first column)."""
    return [
        Conv(name="conv1", width=64, kernel=(1, 7, 7), stride=(1, 2, 2)),
        MaxPool(name="pool1", kernel=(1, 3, 3), stride=(1, 2, 2), padding=(0, 1, 1)),
        *hara.residual(depth, shortcut="projection", kernel=FLAT, down=(1, 2, 2)),
    ]


def resnet_3d(depth: int) -> list[Row]:
    """Return the 3D ResNet's layers: Hara et al.'s, with projections at all depths, as table 2's counts have it."""
    return hara.rows(depth, shortcut="projection")


def resnet_semi(depth: int) -> list[Row]:
    """Return the semi-ResNet's layers (table A1, last column).

    The table prints conv3_x as 3x3x3; its output and table 2's pre-trained parameters (0.4 M) are those of 1x3x3.
    Projections, not zero padding, give table 2's totals. What the bottlenecks' temporal blocks are is not said: here
    3x1x1 stands where the 3x3 was, between the 1x1x1 convolutions.
    """
    (two, three), along, (four, more, five) = SEMI_RESNETS[depth]
    groups = {2: two, 3: three + along, 4: four + more, 5: five}
    bottleneck = hara.DEPTHS[depth][1]

    def blocks(group: int, first: int, count: int, kernel: Triple, stride: Triple) -> list[Row]:
        return [
            Block(
                name=block_name(f"res{group}", i, groups[group]),
                width=16 << group,
                kernel=kernel,
                stride=stride if i == first else (1, 1, 1),
                bottleneck=bottleneck,
            )
            for i in range(first, first + count)
        ]

    return [
        Conv(name="conv1", width=64, kernel=(1, 7, 7), stride=(1, 2, 2)),  # (64, 16, 112, 112)
        MaxPool(name="pool1", kernel=(1, 3, 3), stride=(1, 2, 2), padding=(0, 1, 1)),
        *blocks(2, 0, two, FLAT, (1, 1, 1)),  # 16 x 56 x 56
        *blocks(3, 0, three, FLAT, (1, 2, 2)),  # 16 x 28 x 28
        MaxPool(name="pool3", kernel=(1, 3, 3), stride=(1, 2, 2), padding=(0, 1, 1)),
        *blocks(3, three, along, ALONG, (1, 1, 1)),  # 16 x 14 x 14
        MaxPool(name="pool3t", kernel=(3, 1, 1), stride=(2, 1, 1), padding=(1, 0, 0)),
        *blocks(4, 0, four, FULL, (1, 1, 1)),  # 8 x 14 x 14
        *blocks(4, four, more, FULL, (2, 2, 2)),  # 4 x 7 x 7
        *blocks(5, 0, five, FULL, (2, 2, 2)),  # 2 x 4 x 4
    ]


# ---------------------------------------------------------------- DenseNets

DENSENETS = {121: (6, 12, 24, 16), 169: (6, 12, 32, 32)}


def _densenet(depth: int, conv: Triple, pool: Triple, kernel: Triple, shrink: Triple) -> list[Row]:
    padding = (pool[0] // 2, 1, 1)
    layers: list[Row] = [
        Conv(name="conv0", width=64, kernel=conv, stride=(1, 2, 2)),
        MaxPool(name="pool0", kernel=pool, stride=(pool[0] // 2 + 1, 2, 2), padding=padding),
    ]
    for i, n in enumerate(DENSENETS[depth], start=1):
        layers.append(DenseBlock(name=f"denseblock{i}", layers=n, kernel=kernel))
        layers.append(Shrink(name=f"transition{i}", pool=shrink) if i < 4 else Norm(name="norm5"))
    return layers


def densenet_2d(depth: int) -> list[Row]:
    """Return the 2D DenseNet's layers, each of a single frame."""
    return _densenet(depth, (1, 7, 7), (1, 3, 3), FLAT, (1, 2, 2))


def densenet_3d(depth: int) -> list[Row]:
    """Return the 2D DenseNet with every kernel and pooling extended over time."""
    return _densenet(depth, (7, 7, 7), (3, 3, 3), FULL, (2, 2, 2))


def densenet_semi(depth: int) -> list[Row]:
    """Return semi-DenseNet: table 1's ([6, 6], [6], [12, 12, 16]) layers, and ([6, 6], [6], [16, 16, 32]).

    Sizes are those of table A1. The second and third block of the 2D network are each parted where the size changes;
    what stands between the parts is not said. Transitions that keep the number of channels there (320 and, with 121
    layers, 640) give table 2's 10.4 and 17.9 M and leave all later layers their 2D widths; poolings alone would give
    9.9 and 17.2 M, transitions that halve the channels less.
    """
    last_two = DENSENETS[depth][2] // 2, DENSENETS[depth][3]
    return [
        Conv(name="conv0", width=64, kernel=(1, 7, 7), stride=(1, 2, 2)),  # (64, 16, 112, 112)
        MaxPool(name="pool0", kernel=(1, 3, 3), stride=(1, 2, 2), padding=(0, 1, 1)),
        DenseBlock(name="denseblock1", layers=6, kernel=FLAT),  # (256, 16, 56, 56)
        Shrink(name="transition1", pool=(1, 2, 2)),
        DenseBlock(name="denseblock2a", layers=6, kernel=FLAT),  # (320, 16, 28, 28)
        Shrink(name="transition2a", pool=(1, 2, 2), halve=False),
        DenseBlock(name="denseblock2b", layers=6, kernel=ALONG),  # (512, 16, 14, 14)
        Shrink(name="transition2", pool=(2, 1, 1)),
        DenseBlock(name="denseblock3a", layers=last_two[0], kernel=FULL),  # 8 x 14 x 14
        Shrink(name="transition3a", pool=(2, 2, 2), halve=False),
        DenseBlock(name="denseblock3b", layers=last_two[0], kernel=FULL),  # 4 x 7 x 7
        Shrink(name="transition3", pool=(2, 2, 2)),
        DenseBlock(name="denseblock4", layers=last_two[1], kernel=FULL),  # 2 x 3 x 3
        Norm(name="norm5"),
    ]


# ---------------------------------------------------------------- the table

# Section 4.1: resized to 224 x 224, ImageNet's mean and deviation (0.485, 0.456, 0.406 and 0.229, 0.224, 0.225 of pixels in
# 0..1, times 255); in validation a centre crop.
IMAGENET = Transform(
    resize=224, crop=224, mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375)
)


def build(
    rows: Callable[[], list[Row]],
    hidden: tuple[Hidden, ...],
    stacked: bool,
    *,
    num_classes: int,
    dropout: float = 0.5,
) -> Backbone:
    """Build a network of table 2; dropout is that of VGG's linear layers."""
    classifier = "fc8" if hidden else "fc"
    return Network(
        rows(),
        size=SIZE,
        num_classes=num_classes,
        classifier=classifier,
        hidden=hidden,
        stacked=stacked,
        dropout=dropout,
    )


def _table() -> list[tuple[str, Callable[[], list[Row]], tuple[Hidden, ...], bool, str]]:
    table: list[tuple[str, Callable[[], list[Row]], tuple[Hidden, ...], bool, str]] = [
        ("semi_vgg16", vgg_semi, FC, False, "VGG-16, semi-CNN"),
        ("c3d_224", vgg_3d, FC, False, "VGG-16, 3D-CNN"),
        ("vgg16_2d", vgg_2d, FC, True, "VGG-16, 2D-CNN"),
    ]
    for depth in SEMI_RESNETS:
        table += [
            (
                f"semi_resnet{depth}",
                partial(resnet_semi, depth),
                (),
                False,
                f"ResNet-{depth}, semi-CNN",
            ),
            (f"resnet{depth}_3d", partial(resnet_3d, depth), (), False, f"ResNet-{depth}, 3D-CNN"),
            (f"resnet{depth}_2d", partial(resnet_2d, depth), (), True, f"ResNet-{depth}, 2D-CNN"),
        ]
    for depth in DENSENETS:
        table += [
            (
                f"semi_densenet{depth}",
                partial(densenet_semi, depth),
                (),
                False,
                f"DenseNet-{depth}, semi-CNN",
            ),
            (
                f"densenet{depth}_3d",
                partial(densenet_3d, depth),
                (),
                False,
                f"DenseNet-{depth}, 3D-CNN",
            ),
            (
                f"densenet{depth}_2d",
                partial(densenet_2d, depth),
                (),
                True,
                f"DenseNet-{depth}, 2D-CNN",
            ),
        ]
    return table


for _name, _rows, _hidden, _stacked, _source in _table():
    register(
        ModelEntry(
            name=_name,
            family="semi-cnn",
            builder=partial(build, _rows, _hidden, _stacked),
            num_classes=101,  # UCF101
            clip=ClipSpec(frames=16, step=1, stride=16),
            transform=IMAGENET,
            layers=("fc6", "prob") if _hidden else (_rows()[-1].name, "pool5", "prob"),
            source=f"Leong et al. 2020 (semi-CNN), table 2, {_source}",
        )
    )
