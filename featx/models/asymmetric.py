"""Asymmetric 3D-CNNs: one-directional convolutions, MicroNets, and the C3Ds that they are compared with.

Yang, Yuan, Li, Du, Xing, Hu, Maybank: "Asymmetric 3D Convolutional Neural Networks for Action
Recognition", Pattern Recognition 85, 2019: tables 2, 3 and 4, sections 3 and 4.
"""

from __future__ import annotations

from functools import partial
from itertools import combinations

from featx.clips import ClipSpec
from featx.models import c3d
from featx.models.layers import Backbone
from featx.models.network import Hidden, Network
from featx.models.registry import ModelEntry, register
from featx.models.rows import AsymmetricConv, Conv, Micro, Row
from featx.transforms import Transform

# Figure 6: c3d-b8 is C3D; c3d-b5 has one convolution in each group, and half the channels in the last two and in the linear
# layers. A string of digits says which groups are asymmetric.
B5 = ((64,), (128,), (256,), (256,), (256,))

# Widths of a MicroNet with 256 outputs: (left_linear, left, linear, middle). Figure 3, which has them, is not in the text;
# table 3 gives the parameters of the whole networks. It counts no biases and cuts off after two digits: c3d-b5 17.43 (17.4398)
# and b5-asyConv5 16.26 (16.2601). A MicroNet in c3d-b5's conv5 then has
#     M1 399,664 to 409,664, M2 30,000 and M3 200,000 fewer (each +-10,000), M4 both.
# GoogLeNet's first Inception module, which also has 256 outputs and after which MicroNets are modelled, reduces to 16 for two
# 3x3 (5x5) convolutions of 32 and to 96 for one of 128. In 3D, making the left column asymmetric saves 30,720, the middle one
# 196,608. Left, 32, and middle, 128, leave the right column 96 of the 256 outputs: as many as the middle column's linear layer
# has. With one linear layer of 96 that is the right column and feeds the middle one, the four networks have 16.072, 16.041,
# 15.875 and 15.844 M; the table says 16.07, 16.04, 15.87 and 15.84. A linear layer of its own for each would give 16.097 M.
MICRO_256 = (16, 32, 96, 128)
MICRO_512 = (32, 64, 192, 256)
# Which columns are asymmetric (section 3.2): (left, middle).
MICRONETS = {"m1": (False, False), "m2": (True, False), "m3": (False, True), "m4": (True, True)}


def micro(name: str, variant: str, outputs: int) -> Micro:
    """Return a MicroNet with 256 or 512 outputs."""
    left, middle = MICRONETS[variant]
    return Micro(
        name=name, widths={256: MICRO_256, 512: MICRO_512}[outputs], left=left, middle=middle
    )


def rows_b5(asymmetric: str = "", conv5: str = "") -> list[Row]:
    """Return c3d-b5's layers, with groups of `asymmetric` replaced by 1x3x1, 1x1x3, 3x1x1, or conv5 by a MicroNet."""
    layers: list[Row] = []
    for i, (width,) in enumerate(B5, start=1):
        name = f"conv{i}"
        if i == 5 and conv5:
            layers.append(micro(name, conv5, width))
        elif str(i) in asymmetric:
            layers.append(AsymmetricConv(name=name, width=width, extent=3))
        else:
            layers.append(Conv(name=name, width=width, norm=False))
        layers.append(c3d.pool(i))
    return layers


def rows_b8(asymmetric: str = "") -> list[Row]:
    """Return c3d-b8's layers, the two convolutions of groups in `asymmetric` replaced by 1x5x1, 1x1x5, 3x1x1 (figure 2b)."""
    layers: list[Row] = []
    for i, widths in enumerate(c3d.WIDTHS, start=1):
        if str(i) in asymmetric:
            layers.append(AsymmetricConv(name=f"conv{i}", width=widths[-1], extent=5))
        else:
            layers += [
                Conv(name=f"conv{i}{'ab'[j]}", width=width, norm=False)
                for j, width in enumerate(widths)
            ]
        layers.append(c3d.pool(i))
    return layers


def rows_final(conv3: str, conv4: str, conv5: str) -> list[Row]:
    """Return the layers of the asymmetric 3D-CNN (section 3.3): two convolutions and three MicroNets.

    Figure 4, which has the widths, is not in the text, and no table counts this network. Channels double at each
    pooling to C3D's 512, and fc6 and fc7 have 4096 outputs: the widths of c3d-b8, with which table 4 compares it.
    """
    return [
        Conv(name="conv1", width=64, norm=False),
        c3d.pool(1),
        Conv(name="conv2", width=128, norm=False),
        c3d.pool(2),
        micro("conv3", conv3, 256),  # 8 x 28 x 28
        c3d.pool(3),
        micro("conv4", conv4, 512),  # 4 x 14 x 14
        c3d.pool(4),
        micro("conv5", conv5, 512),  # 2 x 7 x 7
        c3d.pool(5),
    ]


def build(rows: list[Row], fc_width: int, *, num_classes: int, dropout: float = 0.5) -> Backbone:
    """Build a network of tables 2, 3 or 4."""
    hidden = (Hidden("fc6", fc_width), Hidden("fc7", fc_width))
    return Network(
        rows,
        size=(16, 112, 112),
        num_classes=num_classes,
        classifier="fc8",
        hidden=hidden,
        dropout=dropout,
    )


_GROUPS = [
    "".join(chosen) for n in (1, 2, 3) for chosen in combinations("345", n)
]  # 3, 4, 5, 34, 35, 45, 345

ROWS: list[tuple[str, list[Row], int, str]] = [
    # name, layers, outputs of fc6 and fc7, source
    ("c3d_b5", rows_b5(), 2048, "figure 6b, c3d-b5"),
    *((f"b5_asyconv{g}", rows_b5(g), 2048, f"table 2, b5-asyConv{g}") for g in _GROUPS),
    ("c3d_b8", rows_b8(), 4096, "figure 6a, c3d-b8"),
    *((f"b8_asyconv{g}", rows_b8(g), 4096, f"table 2, b8-asyConv{g}") for g in _GROUPS),
    *((f"b5_{m}", rows_b5(conv5=m), 2048, f"table 3, b5-{m.upper()}") for m in MICRONETS),
    ("asymmetric3d", rows_final("m2", "m2", "m3"), 4096, "section 3.3, Asymmetric 3D-CNN"),
    ("asymmetric3d_m2", rows_final("m2", "m2", "m2"), 4096, "table 4, Asymmetric 3D-CNN (M2)"),
    ("asymmetric3d_m3", rows_final("m3", "m3", "m3"), 4096, "table 4, Asymmetric 3D-CNN (M3)"),
]

# Section 4.3: frames of 128 x 171, crops of 112 x 112. What is subtracted is not said: C3D's mean.
YANG: Transform = c3d.SPORTS1M

for _name, _rows, _fc, _source in ROWS:
    register(
        ModelEntry(
            name=_name,
            family="asymmetric",
            builder=partial(build, _rows, _fc),
            num_classes=101,  # UCF101
            clip=ClipSpec(frames=16, step=1, stride=16),
            transform=YANG,
            layers=("fc6", "prob"),
            source=f"Yang et al. 2019 (asymmetric 3D-CNN), {_source}",
        )
    )
