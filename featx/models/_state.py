"""State dicts: under other libraries' names, into a model, and what keeps one from being a model's."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch

from featx.errors import UsageError
from featx.models._layers import Backbone
from featx.models._registry import skeleton

State = Mapping[str, torch.Tensor]

# torchvision.models.video.resnet.VideoResNet: stem, layer1 ... layer4, fc; conv1 and conv2 of a block are
# sequences (convolution, batch norm, ...), and downsample is (convolution, batch norm).
_PARTS = {"0": "conv", "1": "bn"}
_STEM = re.compile(r"stem\.([01])\.(\w+)")
_BLOCK = re.compile(r"layer([1-4])\.(\d+)\.(conv1|conv2|downsample)\.([01])\.(\w+)")


def is_torchvision(state: State) -> bool:
    """Return whether the names are those of torchvision's video ResNets."""
    return "stem.0.weight" in state


def torchvision_name(name: str) -> str:
    """Return our name for a weight of torchvision's r3d_18: `layer1.0.conv1.0.weight` is `res2a.conv1.conv.weight`.

    Names of no counterpart come back as they are.
    """
    if match := _STEM.fullmatch(name):
        part, leaf = match.groups()
        return f"conv1.{_PARTS[part]}.{leaf}"
    if (match := _BLOCK.fullmatch(name)) and int(match[2]) < 26:
        layer, block, inner, part, leaf = match.groups()
        unit = {"downsample": "projection"}.get(inner, inner)
        return f"res{int(layer) + 1}{chr(ord('a') + int(block))}.{unit}.{_PARTS[part]}.{leaf}"
    return name


def from_torchvision(state: State) -> dict[str, torch.Tensor]:
    """Return the weights under our names."""
    return {torchvision_name(name): value for name, value in state.items()}


def with_weights(architecture: str, state: State, *, where: str, num_classes: int | None = None) -> Backbone:
    """Return the model of that architecture with these weights as float32, in evaluation mode.

    The number of classes is that of the classifier in `state`; UsageError when `num_classes` says
    another or the weights do not fit, naming `where` they come from and what does not.
    """
    model = skeleton(architecture)
    rows = state.get(f"{model.classifier}.weight")
    found = rows.shape[0] if rows is not None and rows.dim() == 2 else model.num_classes
    if num_classes is not None and num_classes != found:
        raise UsageError(f"{where} has {found} classes, not {num_classes}")
    model = skeleton(architecture, num_classes=found)
    # Batch norm's count of training steps: some files leave it out, and nothing here depends on it.
    counters = [name for name in model.state_dict() if name.endswith("num_batches_tracked")]
    state = {**{name: torch.zeros((), dtype=torch.int64) for name in counters}, **state}
    if problem := misfit(architecture, state, num_classes=found):
        raise UsageError(f"{where} does not fit {architecture}: {problem}")
    tensors = {
        name: value.detach().to(torch.float32 if value.is_floating_point() else value.dtype).contiguous()
        for name, value in state.items()
    }
    model.load_state_dict(tensors, strict=True, assign=True)
    return model.eval()


def misfit(architecture: str, state: State, *, num_classes: int) -> str:
    """Return what keeps these weights from being that model's, in words, or an empty string."""
    wanted = skeleton(architecture, num_classes=num_classes).state_dict()
    problems = []
    for word, names in (("it lacks", wanted.keys() - state.keys()), ("it has besides", state.keys() - wanted.keys())):
        if names:
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            problems.append(f"{word} {min(names)}{more}")
    for name in sorted(wanted.keys() & state.keys()):
        given, needed = state[name], wanted[name]
        if given.shape != needed.shape or given.is_floating_point() != needed.is_floating_point():
            problems.append(f"{name} is {given.dtype} {tuple(given.shape)}, not {needed.dtype} {tuple(needed.shape)}")
            break
    return ", ".join(problems)
