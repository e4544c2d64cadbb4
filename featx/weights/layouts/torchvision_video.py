"""torchvision's video ResNets: torchvision/models/video/resnet.py."""

from __future__ import annotations

from featx.models.image_networks import block_modules
from featx.models.torchvision_video import KINETICS
from featx.weights.layouts._names import blocks_of, renamed
from featx.weights.layouts._types import Foreign, Hints, Layout, State

# A unit is a sequence, its convolution may be one, and a ReLU has a number too.
_WHOLE = {"0": "conv", "1": "bn"}
_SPLIT_STEM = {"0": "spatial.conv", "1": "spatial.bn", "3": "temporal.conv", "4": "temporal.bn"}
_SPLIT = {"0.0": "spatial.conv", "0.1": "spatial.bn", "0.3": "temporal.conv", "1": "temporal.bn"}


def _read(state: State, hints: Hints) -> Foreign:
    split = "stem.3.weight" in state
    units = {
        f"conv{i}.{k}": f"conv{i}.{v}"
        for i in (1, 2)
        for k, v in (_SPLIT if split else _WHOLE).items()
    }
    units |= {f"downsample.{k}": f"projection.{v}" for k, v in _WHOLE.items()}
    stem = {f"stem.{k}": f"conv1.{v}" for k, v in (_SPLIT_STEM if split else _WHOLE).items()}
    # From layer2 on, MC3's kernels are 1 x 3 x 3 where R3D's are 3 x 3 x 3.
    second = state.get("layer2.0.conv1.0.weight")
    mixed = second is not None and second.shape[2:3] == (1,)
    blocks = blocks_of(state)
    name = "r2plus1d_18" if split else "mc3_18" if mixed else "r3d_18"
    return Foreign(
        state=renamed(state, stem | block_modules(blocks, units)),
        layout=LAYOUT.name,
        fits=(name,) if blocks == (2, 2, 2, 2) else (),
        what=f"its tensors are those of torchvision's {name}"
        if blocks == (2, 2, 2, 2)
        else f"a video ResNet named as torchvision's with {blocks} blocks",
        transform=KINETICS,
    )


LAYOUT = Layout(name="torchvision-video", signatures=(("stem.0.weight",),), read=_read)
