"""What ports of Caffe's C3D have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING

from featx.models.c3d import SPORTS1M
from featx.weights.layouts._types import Foreign

if TYPE_CHECKING:
    import torch

CONVOLUTIONS = ("conv1a", "conv2a", "conv3a", "conv3b", "conv4a", "conv4b", "conv5a", "conv5b")
LINEAR = {"fc6": "fc6.linear", "fc7": "fc7.linear", "fc8": "fc8"}
BGR = "conv1 from BGR to RGB"
_SPORTS1M_CLASSES = 487


def from_caffe(state: dict[str, torch.Tensor], layout: str) -> Foreign:
    """Return weights converted from the authors' Caffe model, or trained further in a port that reads images as Caffe did.

    Caffe's images come from OpenCV: blue, green, red. The conversions keep that order in conv1
    (github.com/DavideA/c3d-pytorch, issues 1 and 4; pytorch-video-recognition's dataset.py reads with
    OpenCV and subtracts (90, 98, 102) of blue, green and red).
    """
    first = state.get("conv1a.conv.weight")
    if first is not None and first.dim() == 5:
        state["conv1a.conv.weight"] = first.flip(1)
    rows = state.get("fc8.weight")
    fits: tuple[str, ...]
    assumed = "images in blue, green, red order and Sports-1M's mean, as in Caffe"
    if rows is None:
        fits, what = ("c3d", "c3d_b8", "c3d_padded"), "a C3D without a classifier"
        assumed += (
            "; that it is Caffe's own for Sports-1M (c3d), or was trained further in a port"
            " (c3d_padded)"
        )
    elif rows.shape[:1] == (_SPORTS1M_CLASSES,):
        fits = ("c3d", "c3d_b8")
        what = "Caffe's C3D for Sports-1M, whose pooling rounds sizes up and pads nothing"
    else:
        fits = ("c3d_padded",)
        what = f"a C3D trained for {rows.shape[:1].numel()} classes in a port, which pads pool5"
        assumed += "; pool5 padded"
    return Foreign(
        state=state,
        layout=layout,
        fits=fits,
        what=what,
        transform=SPORTS1M,
        changed=BGR,
        assumed=f"assumed: {assumed}",
    )
