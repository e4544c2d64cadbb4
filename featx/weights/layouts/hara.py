"""Hara et al.'s 3D ResNets: github.com/kenshohara/3D-ResNets-PyTorch."""

from __future__ import annotations

from featx.errors import UsageError
from featx.models.hara import DEPTHS, HARA
from featx.models.image_networks import resnet_modules
from featx.transforms import Transform
from featx.weights.layouts._names import blocks_of, renamed
from featx.weights.layouts._types import Foreign, Hints, Layout, State

# Of the release since April 2020: pixels in 0..1, mean and deviation of Kinetics (mean.py),
# (0.4345, 0.4051, 0.3775) and (0.2768, 0.2713, 0.2737), times 255.
HARA_2020 = Transform(
    resize=112, crop=112, mean=(110.7975, 103.3005, 96.2625), std=(70.584, 69.1815, 69.7935)
)


def _read(state: State, hints: Hints) -> Foreign:
    bottleneck = "layer1.0.conv3.weight" in state
    projected = any(".downsample." in name for name in state)
    blocks = blocks_of(state)
    depth = next((d for d, known in DEPTHS.items() if known == (blocks, bottleneck)), None)
    network = (
        f"3D ResNet-{depth}"
        if depth
        else f"3D ResNet of {blocks} {'bottlenecks' if bottleneck else 'basic blocks'}"
    )
    if hints.arch is not None and depth is not None and hints.arch != f"resnet-{depth}":
        raise UsageError(
            f"{hints.where} says that it is {hints.arch!r} where its tensors have the names of"
            f" a {network}, 'resnet-{depth}': give a file whose arch and tensors agree"
        )
    kind = "projections (type B)" if projected else "zero padding (type A)"
    # The 2017 and 2018 files were saved from DataParallel, and those of 18 and 34 layers have type A;
    # the 2020 ones are bare and type B.
    old = hints.parallel or not projected
    fits = []
    if depth is not None:
        own = depth >= 50  # whether Hara's network of that depth has projections: models/hara.py
        fits = [f"hara_resnet{depth}"] if own == projected else []
        fits += [f"resnet{depth}_3d"] if projected else []
    return Foreign(
        state=renamed(state, resnet_modules(blocks)),
        layout=LAYOUT.name,
        fits=tuple(fits),
        what=f"a {network} whose shortcuts are {kind}",
        transform=HARA if old else HARA_2020,
        assumed=f"preprocessing of Hara et al.'s {'2017' if old else '2020'} release",
    )


LAYOUT = Layout(
    name="hara",
    signatures=(("conv1.weight", "bn1.weight", "layer1.0.conv1.weight"),),
    read=_read,
)
