"""torchvision's video ResNets: R3D, MC3 and R(2+1)D with 18 layers, for its Kinetics-400 checkpoints.

Tran, Wang, Torresani, Ray, LeCun, Paluri: "A Closer Look at Spatiotemporal Convolutions for Action
Recognition", arXiv:1711.11248 (2018), table 1; as in torchvision.models.video. Written in terms of Tran
et al. 2017: the same blocks, with a projection only where the shape changes.
"""

from __future__ import annotations

from functools import partial

from featx.clips import ClipSpec
from featx.models.registry import ModelEntry, register
from featx.models.tran2017 import Config, build
from featx.transforms import Transform

# torchvision's preset for its video ResNets, (0.43216, 0.394666, 0.37645) and (0.22803, 0.22145, 0.216989) of pixels
# in 0..1, times 255.
KINETICS = Transform(
    resize=(128, 171),
    crop=112,
    mean=(110.2008, 100.63983, 95.99475),
    std=(58.14765, 56.46975, 55.332195),
)
CLIP = ClipSpec(frames=16, step=1, stride=16)

ROWS = (
    ("r3d_18", Config(project_conv2=False), "R3D"),
    (
        "mc3_18",
        Config(project_conv2=False, kernels=(3, 3, 1, 1, 1), strides=(1, 1, 1, 1, 1)),
        "MC3",
    ),
    # conv1 is split over 45 channels, not the 83 of the formula.
    ("r2plus1d_18", Config(project_conv2=False, split="r2plus1d", middle=45), "R(2+1)D"),
)

for _name, _config, _source in ROWS:
    register(
        ModelEntry(
            name=_name,
            family="torchvision",
            builder=partial(build, _config, (16, 112, 112)),
            num_classes=400,  # Kinetics-400
            clip=CLIP,
            transform=KINETICS,
            layers=("res5b", "pool5", "prob"),
            source=f"torchvision.models.video; Tran et al. 2018 (arXiv:1711.11248), table 1, {_source}",
        )
    )
