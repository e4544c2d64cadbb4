"""A module of the user's as a network: a copy to run, and what a feature file says of it."""

from __future__ import annotations

import copy
import hashlib
import inspect
import re
from pathlib import Path
from typing import Any

import torch
from torch import nn


def evaluating_copy(module: nn.Module) -> nn.Module:
    """Return a copy of a module in evaluation mode, which shares the module's parameters; the module stays as it is."""
    shared = {id(p): nn.Parameter(p.detach(), requires_grad=False) for p in module.parameters()}
    copied = copy.deepcopy(module, dict[int, Any](shared))
    return copied.eval().requires_grad_(False)


def about(module: nn.Module) -> dict[str, str | None]:
    """Return what a module is, for a feature file.

    Returns:
        class: Its class with the module that defines it. file_sha256: of that module's file; None where there is none.
        structure_sha256: Of what it prints, and of the files of its parts' classes: other strides have the same parameters.
        parameters_sha256: Of its parameters' and buffers' names, types, shapes and values.
    """
    return {
        "class": _name(type(module)),
        "file_sha256": _file_digest(type(module)),
        "structure_sha256": _structure(module),
        "parameters_sha256": _digest(module),
    }


def has_path(module: nn.Module, path: str) -> bool:
    """Return whether a module has a submodule of that path."""
    return any(name == path for name, _ in module.named_modules())


def _name(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def _structure(module: nn.Module) -> str:
    found = hashlib.sha256(re.sub("0x[0-9a-f]+", "", repr(module)).encode())
    kinds = {_name(type(part)): type(part) for part in module.modules()}
    for name, kind in sorted(kinds.items()):
        file = None if name.startswith("torch.") else _file_digest(kind)
        found.update(f"{name} {file}\n".encode())
    return found.hexdigest()


def _file_digest(kind: type) -> str | None:
    try:
        file = inspect.getsourcefile(kind)
    except (OSError, TypeError):  # defined at a prompt
        return None
    if file is None or not Path(file).is_file():
        return None
    return hashlib.sha256(Path(file).read_bytes()).hexdigest()


def _digest(module: nn.Module) -> str:
    found = hashlib.sha256()
    for name, value in sorted(module.state_dict().items()):
        if not isinstance(value, torch.Tensor):
            found.update(f"{name} {value!r}\n".encode())
            continue
        plain = value.detach().cpu().contiguous()
        found.update(f"{name} {plain.dtype} {tuple(plain.shape)}\n".encode())
        found.update(plain.reshape(-1).view(torch.uint8).numpy().tobytes())
    return found.hexdigest()
