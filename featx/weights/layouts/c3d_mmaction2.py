"""C3D of MMAction2: its backbone alone, converted from Caffe's, or a recogniser trained there."""

from __future__ import annotations

from featx.models.c3d import MMACTION
from featx.weights.layouts._caffe import LINEAR, from_caffe
from featx.weights.layouts._names import renamed
from featx.weights.layouts._types import Foreign, Hints, Layout, State


def _read(state: State, hints: Hints) -> Foreign:
    trained = any(name.startswith(("backbone.", "cls_head.")) for name in state)
    bare = {name.removeprefix("backbone."): value for name, value in state.items()}
    ours = renamed(bare, {**LINEAR, "cls_head.fc_cls": "fc8"})
    if not trained:
        return from_caffe(ours, LAYOUT.name)
    return Foreign(
        state=ours,
        layout=LAYOUT.name,
        fits=("c3d_padded",),
        what="a recogniser of MMAction2, trained with a padded pool5",
        transform=MMACTION,
    )


LAYOUT = Layout(
    name="c3d-mmaction2",
    signatures=(("conv1a.conv.weight", "fc6.weight"), ("backbone.conv1a.conv.weight",)),
    read=_read,
)
