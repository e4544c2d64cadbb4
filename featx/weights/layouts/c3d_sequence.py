"""C3D as two sequences, `features` and `classifier`, as torchvision's VGG is."""

from __future__ import annotations

from featx.weights.layouts._caffe import CONVOLUTIONS, from_caffe
from featx.weights.layouts._names import renamed
from featx.weights.layouts._types import Foreign, Hints, Layout, State

# Every convolution has a ReLU after it, every group a pooling.
_NUMBERS = (0, 3, 6, 8, 11, 13, 16, 18)
_MODULES = {
    **{f"features.{i}": f"{name}.conv" for i, name in zip(_NUMBERS, CONVOLUTIONS, strict=True)},
    "classifier.0": "fc6.linear",
    "classifier.3": "fc7.linear",
    "classifier.6": "fc8",
}


def _read(state: State, hints: Hints) -> Foreign:
    return from_caffe(renamed(state, _MODULES), LAYOUT.name)


LAYOUT = Layout(
    name="c3d-sequence",
    signatures=(("features.0.weight", "features.18.weight", "classifier.0.weight"),),
    read=_read,
)
