"""State dicts: other libraries' names to ours, weights into a model, and what keeps them from being a model's."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

from featx.errors import UsageError
from featx.models import c3d, hara, torchvision_video
from featx.models.image_networks import Four, block_modules, resnet_modules
from featx.models.layers import Backbone
from featx.models.registry import skeleton
from featx.transforms import Transform

State = Mapping[str, torch.Tensor]
NO_CLASSIFIER = "no classifier: prob and logits cannot be had"


@dataclass(frozen=True, kw_only=True)
class Foreign:
    """Weights that came under another library's names, under ours.

    fits: names of the models that they belong to, none when no model here is theirs.
    what: what they are, and why they belong there, in words.
    transform: what they were trained with, where that is not the preprocessing of every model they fit.
    changed: what was changed on the way, for the feature file. assumed: what the file does not tell and was
        concluded from it, likewise.
    """

    state: dict[str, torch.Tensor]
    layout: str
    fits: tuple[str, ...]
    what: str
    transform: Transform | None = None
    changed: str | None = None
    assumed: str | None = None


@dataclass(frozen=True, kw_only=True)
class Hints:
    """What a file tells beside its tensors; see `featx.weights.statefile.StateFile`."""

    where: str
    arch: str | None = None
    parallel: bool = False


@dataclass(frozen=True)
class Layout:
    """One library's naming: recognised by names that it has and no other, read by a function of its own."""

    name: str
    signature: tuple[str, ...]
    read: Callable[[State, Hints], Foreign]


def _renamed(state: State, modules: Mapping[str, str]) -> dict[str, torch.Tensor]:
    """Return the state with the modules' names replaced; names of no counterpart stay, and `misfit` will tell them."""
    renamed = {}
    for name, value in state.items():
        module, _, leaf = name.rpartition(".")
        renamed[f"{modules[module]}.{leaf}" if module in modules else name] = value
    return renamed


# ---------------------------------------------------------------- residual networks

_BLOCK = re.compile(r"layer([1-4])\.(\d{1,3})\.")


def blocks_of(state: State) -> Four:
    """Return how many residual blocks layer1 ... layer4 have."""
    found = {(int(match[1]), match[2]) for name in state if (match := _BLOCK.match(name))}
    one, two, three, four = (sum(layer == group for layer, _ in found) for group in (1, 2, 3, 4))
    return one, two, three, four


# torchvision/models/video/resnet.py: a unit is a sequence, its convolution may be one, and a ReLU has a number too.
_WHOLE = {"0": "conv", "1": "bn"}
_SPLIT_STEM = {"0": "spatial.conv", "1": "spatial.bn", "3": "temporal.conv", "4": "temporal.bn"}
_SPLIT = {"0.0": "spatial.conv", "0.1": "spatial.bn", "0.3": "temporal.conv", "1": "temporal.bn"}


def _torchvision(state: State, hints: Hints) -> Foreign:
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
        state=_renamed(state, stem | block_modules(blocks, units)),
        layout="torchvision-video",
        fits=(name,) if blocks == (2, 2, 2, 2) else (),
        what=f"its tensors are those of torchvision's {name}"
        if blocks == (2, 2, 2, 2)
        else f"a video ResNet named as torchvision's with {blocks} blocks",
        transform=torchvision_video.KINETICS,
    )


# github.com/kenshohara/3D-ResNets-PyTorch, since April 2020: pixels in 0..1, mean and deviation of Kinetics (mean.py).
HARA_2020 = Transform(
    resize=112, crop=112, mean=(110.7975, 103.3005, 96.2625), std=(70.584, 69.1815, 69.7935)
)  # (0.4345, 0.4051, 0.3775) and (0.2768, 0.2713, 0.2737), times 255


def _hara(state: State, hints: Hints) -> Foreign:
    bottleneck = "layer1.0.conv3.weight" in state
    projected = any(".downsample." in name for name in state)
    blocks = blocks_of(state)
    depth = next((d for d, known in hara.DEPTHS.items() if known == (blocks, bottleneck)), None)
    network = (
        f"3D ResNet-{depth}"
        if depth
        else f"3D ResNet of {blocks} {'bottlenecks' if bottleneck else 'basic blocks'}"
    )
    if hints.arch is not None and depth is not None and hints.arch != f"resnet-{depth}":
        raise UsageError(
            f"{hints.where} says that it is {hints.arch!r} where its tensors have the names of a {network},"
            f" 'resnet-{depth}': give a file whose arch and tensors agree"
        )
    kind = "projections (type B)" if projected else "zero padding (type A)"
    # The 2017 and 2018 files were saved from DataParallel, and those of 18 and 34 layers have type A; the 2020 ones are bare
    # and type B.
    old = hints.parallel or not projected
    fits = []
    if depth is not None:
        own = depth >= 50  # whether Hara's network of that depth has projections: hara.py
        fits = [f"hara_resnet{depth}"] if own == projected else []
        fits += [f"resnet{depth}_3d"] if projected else []
    return Foreign(
        state=_renamed(state, resnet_modules(blocks)),
        layout="hara",
        fits=tuple(fits),
        what=f"a {network} whose shortcuts are {kind}",
        transform=hara.HARA if old else HARA_2020,
        assumed=f"preprocessing of Hara et al.'s {'2017' if old else '2020'} release",
    )


# ---------------------------------------------------------------- C3D

_C3D = ("conv1a", "conv2a", "conv3a", "conv3b", "conv4a", "conv4b", "conv5a", "conv5b")
_LINEAR = {"fc6": "fc6.linear", "fc7": "fc7.linear", "fc8": "fc8"}
_SPORTS1M_CLASSES = 487
BGR = "conv1 from BGR to RGB"


def _caffe_c3d(state: dict[str, torch.Tensor], layout: str) -> Foreign:
    """Weights converted from the authors' Caffe model, or trained further in a port that reads images as Caffe did.

    Caffe's images come from OpenCV: blue, green, red. The conversions keep that order in conv1 (github.com/DavideA/c3d-pytorch,
    issues 1 and 4; pytorch-video-recognition's dataset.py reads with OpenCV and subtracts (90, 98, 102) of blue, green and red).
    """
    first = state.get("conv1a.conv.weight")
    if first is not None and first.dim() == 5:
        state["conv1a.conv.weight"] = first.flip(1)
    rows = state.get("fc8.weight")
    fits: tuple[str, ...]
    assumed = "images in blue, green, red order and Sports-1M's mean, as in Caffe"
    if rows is None:
        fits, what = ("c3d", "c3d_b8", "c3d_padded"), "a C3D without a classifier"
        assumed += "; that it is Caffe's own for Sports-1M (c3d), or was trained further in a port (c3d_padded)"
    elif rows.shape[:1] == (_SPORTS1M_CLASSES,):
        fits, what = (
            ("c3d", "c3d_b8"),
            "Caffe's C3D for Sports-1M, whose pooling rounds sizes up and pads nothing",
        )
    else:
        fits, what = (
            ("c3d_padded",),
            f"a C3D trained for {rows.shape[:1].numel()} classes in a port, which pads pool5",
        )
        assumed += "; pool5 padded"
    return Foreign(
        state=state,
        layout=layout,
        fits=fits,
        what=what,
        transform=c3d.SPORTS1M,
        changed=BGR,
        assumed=f"assumed: {assumed}",
    )


def _c3d_pytorch(state: State, hints: Hints) -> Foreign:
    modules = {
        "conv1": "conv1a.conv",
        "conv2": "conv2a.conv",
        **{name: f"{name}.conv" for name in _C3D[2:]},
        **_LINEAR,
    }
    return _caffe_c3d(_renamed(state, modules), "c3d-pytorch")


def _c3d_sequence(state: State, hints: Hints) -> Foreign:
    modules = {
        f"features.{i}": f"{name}.conv"
        for i, name in zip((0, 3, 6, 8, 11, 13, 16, 18), _C3D, strict=True)
    }  # every convolution has a ReLU after it, every group a pooling
    modules |= {"classifier.0": "fc6.linear", "classifier.3": "fc7.linear", "classifier.6": "fc8"}
    return _caffe_c3d(_renamed(state, modules), "c3d-sequence")


def _c3d_mmaction(state: State, hints: Hints) -> Foreign:
    trained = any(name.startswith(("backbone.", "cls_head.")) for name in state)
    bare = {name.removeprefix("backbone."): value for name, value in state.items()}
    renamed = _renamed(bare, {**_LINEAR, "cls_head.fc_cls": "fc8"})
    if not trained:
        return _caffe_c3d(renamed, "c3d-mmaction2")
    return Foreign(
        state=renamed,
        layout="c3d-mmaction2",
        fits=("c3d_padded",),
        what="a recogniser of MMAction2, trained with a padded pool5",
        transform=c3d.MMACTION,
    )


# ---------------------------------------------------------------- the table

LAYOUTS = (
    Layout("torchvision-video", ("stem.0.weight",), _torchvision),
    Layout("hara", ("conv1.weight", "bn1.weight", "layer1.0.conv1.weight"), _hara),
    Layout("c3d-pytorch", ("conv1.weight", "conv3a.weight", "fc6.weight"), _c3d_pytorch),
    Layout(
        "c3d-sequence",
        ("features.0.weight", "features.18.weight", "classifier.0.weight"),
        _c3d_sequence,
    ),
    Layout("c3d-mmaction2", ("conv1a.conv.weight", "fc6.weight"), _c3d_mmaction),
    Layout("c3d-mmaction2", ("backbone.conv1a.conv.weight",), _c3d_mmaction),
)


def translated(
    architecture: str, state: State, *, where: str, arch: str | None = None, parallel: bool = False
) -> Foreign | None:
    """Return weights of another library under our names, or None where the names are of no layout known here.

    where: the file's name for messages; arch, parallel: what it tells besides, see `featx.weights.statefile.StateFile`.
    Raises UsageError when they are recognised and belong to another model, or are a 2D network's.
    """
    if {value.dim() for value in state.values()} & {4, 5} == {
        4
    }:  # kernels of 2D convolutions, and none of 3D ones
        raise UsageError(
            f"{where} holds a 2D network's weights, not {architecture}'s: give weights of {architecture};"
            " only a semi-CNN's can be made of a 2D network's, by `featx weights from-2d`"
        )
    if (
        layout := next(
            (each for each in LAYOUTS if all(name in state for name in each.signature)), None
        )
    ) is None:
        return None
    foreign = layout.read(state, Hints(where=where, arch=arch, parallel=parallel))
    if not foreign.fits:
        raise UsageError(f"{where} holds weights that no model here has: they are {foreign.what}")
    if architecture not in foreign.fits:
        raise UsageError(
            f"{where} holds weights of model {' or '.join(foreign.fits)}, not of {architecture}: {foreign.what}"
        )
    return foreign


# ---------------------------------------------------------------- into a model


def with_weights(
    architecture: str, state: State, *, where: str, num_classes: int | None = None
) -> Backbone:
    """Return the model of that architecture with these weights as float32, in evaluation mode.

    The number of classes is that of the classifier in `state`; UsageError when `num_classes` says
    another or the weights do not fit, naming `where` they come from and what does not. Without a classifier
    in `state` the model's is NaN throughout, and its `has_classifier` False.
    """
    model = skeleton(architecture)
    classifier = model.classifier
    has_classifier = any(name.startswith(f"{classifier}.") for name in state)
    rows = state.get(f"{classifier}.weight")
    found = rows.shape[0] if rows is not None and rows.dim() == 2 else model.num_classes
    if not has_classifier:
        found = model.num_classes if num_classes is None else num_classes
    elif num_classes is not None and num_classes != found:
        raise UsageError(f"{where} has {found} classes, not {num_classes}")
    model = skeleton(architecture, num_classes=found)
    if not has_classifier:
        empty = model.get_submodule(classifier).state_dict(prefix=f"{classifier}.")
        state = {
            **state,
            **{name: torch.full(value.shape, torch.nan) for name, value in empty.items()},
        }
    # Batch norm's count of training steps: some files leave it out, and nothing here depends on it.
    counters = [name for name in model.state_dict() if name.endswith("num_batches_tracked")]
    state = {**{name: torch.zeros((), dtype=torch.int64) for name in counters}, **state}
    if problem := misfit(architecture, state, num_classes=found):
        raise UsageError(f"{where} does not fit {architecture}: {problem}")
    for name, value in state.items():
        blank = not has_classifier and name.startswith(f"{classifier}.")
        if not blank and value.is_floating_point() and not torch.isfinite(value).all():
            raise UsageError(
                f"{where} cannot be used: its {name} has numbers that are not finite; its training diverged or it is damaged"
            )
    tensors = {
        name: value.detach()
        .to(torch.float32 if value.is_floating_point() else value.dtype)
        .contiguous()
        for name, value in state.items()
    }
    model.load_state_dict(tensors, strict=True, assign=True)
    model.has_classifier = has_classifier
    return model.eval()


def misfit(architecture: str, state: State, *, num_classes: int) -> str:
    """Return what keeps these weights from being that model's, in words, or an empty string."""
    wanted = skeleton(architecture, num_classes=num_classes).state_dict()
    problems = []
    for word, names in (
        ("it lacks", wanted.keys() - state.keys()),
        ("it has besides", state.keys() - wanted.keys()),
    ):
        if names:
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            problems.append(f"{word} {min(names)}{more}")
    for name in sorted(wanted.keys() & state.keys()):
        given, needed = state[name], wanted[name]
        if given.shape != needed.shape or given.is_floating_point() != needed.is_floating_point():
            problems.append(
                f"{name} is {given.dtype} {tuple(given.shape)}, not {needed.dtype} {tuple(needed.shape)}"
            )
            break
    return ", ".join(problems)
