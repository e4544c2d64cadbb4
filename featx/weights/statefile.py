"""Files of weights: read without running code from them, with what they say about themselves.

A file is untrusted: it is read as safetensors or with `torch.load(weights_only=True)`.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from featx.errors import FeatxError, UsageError, nearest
from featx.system.files import check_stored
from featx.weights.quantize import unpacked

if TYPE_CHECKING:
    import torch

# .pickle (DavideA/c3d-pytorch) and .pth.tar are what torch.save was told to write there; they are read like .pth.
SUFFIXES = (".safetensors", ".pth", ".pt", ".pickle", ".tar")
METADATA_KEY = (
    "featx"  # in a safetensors file's metadata: a JSON object, as save_checkpoint writes it
)
_PARALLEL = "module."
# Numbers that take less than this are read, whatever the size of the file.
_MOST = 2 << 30


@dataclass(frozen=True, kw_only=True)
class StateFile:
    """What a file holds.

    state: tensors by name, without the `module.` that torch's DataParallel puts before each; what featx stored smaller
        (`featx.weights.quantize`) is float32 again.
    described: featx's description of a file that it wrote itself, else empty.
    arch: the network's name, where the file tells one beside its state dict.
    parallel: whether the names had `module.` before them.
    """

    state: dict[str, torch.Tensor]
    sha256: str
    described: dict[str, Any] = field(default_factory=dict)
    arch: str | None = None
    parallel: bool = False


def _loaded(data: bytes) -> Any:
    """Return what a file of torch.save holds.

    Raises ValueError where the file, a zip archive mostly, has a part of another size or checksum than it says.
    """
    import torch

    archived = zipfile.is_zipfile(io.BytesIO(data))
    if archived:
        check_stored(io.BytesIO(data))
    state = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    if archived:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            if (damaged := archive.testzip()) is not None:
                raise ValueError(f"the checksum of its part {damaged} is wrong")
    return state


def _unreadable(path: Path, data: bytes, error: Exception) -> str:
    """Return why a file cannot be read, and what to do, in one sentence."""
    if not data:
        return f"{path} is empty: fetch or copy it again"
    if found := re.search(r"Unsupported global: GLOBAL (\S+)|Unsupported class (\S+)", str(error)):
        held = (found[1] or found[2]).strip("`.")
        return (
            f"{path} holds an object of {held}, which could run code: load it where you trust it and save its state dict"
            " alone, torch.save(model.state_dict(), FILE)"
        )
    reason = str(error).strip().partition("\n")[0].partition(". ")[0]
    return (
        f"{path} cannot be read as a checkpoint ({type(error).__name__}: {reason}): it is damaged or no file of torch.save"
        " or safetensors; fetch or copy it again"
    )


def _numbers(
    path: Path, state: dict[object, torch.Tensor], storage: object
) -> dict[str, torch.Tensor]:
    """Return a file's tensors under their plain names, in the numbers that a network takes."""
    named = {str(name).removeprefix(_PARALLEL): value for name, value in state.items()}
    try:
        return unpacked(named, storage)
    except FeatxError as error:
        raise FeatxError(f"{path} cannot be used: its {error}") from None


def find_file(weights: str | Path, known: Iterable[str] = ()) -> Path:
    """Return the path of a file of weights; UsageError where there is none, with the nearest of the names that are known."""
    path = Path(weights).expanduser()
    if path.suffix not in SUFFIXES:
        if path.exists():
            raise UsageError(f"{path} is no checkpoint: its name must end in {', '.join(SUFFIXES)}")
        raise UsageError(
            f"unknown weights {str(weights)!r}{nearest(str(weights), [*known, 'random'])}"
        )
    if not path.is_file():
        raise UsageError(f"there is no file {path}")
    return path


def read_state(path: Path, *, check: Callable[[str], None] | None = None) -> StateFile:
    """Read a file whose name ends in one of SUFFIXES; `check` gets its sha256 before anything of it is used.

    Raises FeatxError when it cannot be read or maps anything but names to tensors.
    """
    import safetensors.torch
    import torch

    try:
        data = path.read_bytes()
    except OSError as error:
        raise FeatxError(f"cannot read {path}: {error.strerror}") from None
    digest = hashlib.sha256(data).hexdigest()
    if check is not None:
        check(digest)
    described: Any = {}
    try:
        if path.suffix == ".safetensors":
            state: Any = safetensors.torch.load(data)
            header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
            described = json.loads((header.get("__metadata__") or {}).get(METADATA_KEY, "{}"))
        else:
            state = _loaded(data)
    except Exception as error:  # noqa: BLE001  torch's unpickler raises whatever a damaged byte leads it to
        raise FeatxError(_unreadable(path, data, error)) from None
    arch = state.get("arch") if isinstance(state, dict) else None
    for wrapper in ("state_dict", "model_state_dict", "model"):
        if isinstance(state, dict) and isinstance(state.get(wrapper), dict):
            state = state[wrapper]
    if (
        not isinstance(state, dict)
        or not state
        or not all(isinstance(v, torch.Tensor) for v in state.values())
    ):
        raise FeatxError(f"{path} is no state dict: it must map names to tensors")
    for name, value in state.items():
        if value.layout is not torch.strided or value.device.type != "cpu" or value.is_quantized:
            kind = "quantised" if value.is_quantized else f"{value.layout} on {value.device}"
            raise FeatxError(
                f"{path} is no state dict of numbers: its {name} is {kind}; save it again as a plain state dict"
            )
    # A tensor can read one number again and again, and two can share theirs; the largest network takes 0.4 GB.
    sizes = {str(name): value.numel() * value.element_size() for name, value in state.items()}
    if sum(sizes.values()) > max(len(data), _MOST):
        raise FeatxError(
            f"{path} claims {max(sizes.values())} bytes in {max(sizes, key=lambda n: sizes[n])}, and has {len(data)}:"
            " it is damaged or made to mislead; fetch or copy it again"
        )
    if len({str(name).removeprefix(_PARALLEL) for name in state}) < len(state):
        raise FeatxError(
            f"{path} names a tensor twice, with and without {_PARALLEL!r}: save one of them"
        )
    if not isinstance(described, dict):
        raise FeatxError(f"{path} has a damaged description: save it again with featx")
    return StateFile(
        state=_numbers(path, state, described.get("storage", "float32")),
        sha256=digest,
        described=described,
        arch=arch if isinstance(arch, str) else None,
        parallel=all(str(name).startswith(_PARALLEL) for name in state),
    )
