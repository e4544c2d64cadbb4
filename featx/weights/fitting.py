"""State dicts into networks: what makes one fit, and what is said where it does not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from featx.errors import UsageError
from featx.models.layers import Backbone
from featx.models.registry import skeleton

State = Mapping[str, torch.Tensor]
NO_CLASSIFIER = "no classifier: prob and logits cannot be had"


def with_weights(
    architecture: str,
    state: State,
    *,
    where: str,
    num_classes: int | None = None,
    **options: Any,
) -> Backbone:
    """Return the model of that architecture with these weights as float32, in evaluation mode.

    The number of classes is that of the classifier in `state`; UsageError when `num_classes` says
    another or the weights do not fit, naming `where` they come from and what does not. Without a classifier
    in `state` the model's is NaN throughout, and its `has_classifier` False. options: the model's own.
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
    model = skeleton(architecture, num_classes=found, **options)
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
