"""C3D as in github.com/DavideA/c3d-pytorch: conv1, conv2, conv3a ... fc8."""

from __future__ import annotations

from featx.weights.layouts._caffe import CONVOLUTIONS, LINEAR, from_caffe
from featx.weights.layouts._names import renamed
from featx.weights.layouts._types import Foreign, Hints, Layout, State

_MODULES = {
    "conv1": "conv1a.conv",
    "conv2": "conv2a.conv",
    **{name: f"{name}.conv" for name in CONVOLUTIONS[2:]},
    **LINEAR,
}


def _read(state: State, hints: Hints) -> Foreign:
    return from_caffe(renamed(state, _MODULES), LAYOUT.name)


LAYOUT = Layout(
    name="c3d-pytorch", signatures=(("conv1.weight", "conv3a.weight", "fc6.weight"),), read=_read
)
