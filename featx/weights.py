"""Checkpoints: what there is, where it is, whether it is what it claims to be, and how it becomes a model.

A checkpoint file is untrusted: its sha256 is checked before use where one is known, and it is read
as safetensors or with `torch.load(weights_only=True)`, neither of which runs code from the file.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from featx.clips import ClipSpec
from featx.download import Progress, download
from featx.errors import FeatxError, UsageError, nearest
from featx.files import disk_full, sha256_of, write_atomically
from featx.transforms import Transform

if TYPE_CHECKING:
    import torch

    from featx.models import Backbone, ModelEntry

Format = Literal["featx", "torchvision-r3d"]
SUFFIXES = (".safetensors", ".pth", ".pt")
METADATA_KEY = "featx"  # in a safetensors file's metadata: a JSON object, as save_checkpoint writes it


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A registered checkpoint, as the manifest describes it.

    format: "featx", or the foreign layout whose names are mapped to ours.
    sha256: 64 hexadecimal digits, or as many of the first ones as its publisher tells.
    file: its name in weights/ when it ships with featx; url: where to fetch it otherwise.
    transform, clip: the preprocessing that it was trained with.
    metrics: what it reaches and by which protocol, as its source says.
    labels: class names in the order of the logits, where they are known.
    """

    name: str
    architecture: str
    num_classes: int
    format: Format
    sha256: str
    file: str | None = None
    url: str | None = None
    transform: Transform
    clip: ClipSpec
    licence: str
    source: str
    metrics: Mapping[str, Any] = field(default_factory=dict)
    labels: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if self.format not in get_args(Format):
            raise ValueError(f"checkpoint {self.name}: unknown format {self.format!r}")
        if not re.fullmatch(r"[0-9a-f]{8,64}", self.sha256):
            raise ValueError(f"checkpoint {self.name}: sha256 {self.sha256!r} is not 8 to 64 hexadecimal digits")
        if (self.file is None) == (self.url is None):
            raise ValueError(f"checkpoint {self.name}: give a file or a url, not both")


@dataclass(frozen=True, kw_only=True)
class LoadedModel:
    """A model with weights, in evaluation mode, and the preprocessing that belongs to them.

    weights_info: name, sha256, source, licence and seed as JSON values, for the feature file.
    labels: class names in the order of the logits, where they are known.
    """

    model: Backbone
    transform: Transform
    clip: ClipSpec
    weights_info: dict[str, Any]
    labels: tuple[str, ...] | None = None


# ---------------------------------------------------------------- what there is


def list_checkpoints() -> list[Checkpoint]:
    """Return the registered checkpoints in the manifest's order: the first of an architecture is its default."""
    rows = json.loads(_shipped("manifest.json").read_text(encoding="utf-8"))["checkpoints"]
    checkpoints = [
        Checkpoint(
            **{
                **row,
                "transform": Transform.from_dict(row["transform"]),
                "clip": ClipSpec(**row["clip"]),
                "labels": tuple(row["labels"]) if row.get("labels") else None,
            }
        )
        for row in rows
    ]
    names = [c.name for c in checkpoints]
    if len(set(names)) < len(names):
        raise ValueError(f"the manifest names a checkpoint twice: {sorted(names)}")
    return checkpoints


def find(name: str) -> Checkpoint:
    """Return the registered checkpoint of that name; UsageError with the nearest names when there is none."""
    by_name = {c.name: c for c in list_checkpoints()}
    if name not in by_name:
        raise UsageError(f"unknown checkpoint {name!r}{nearest(name, by_name)}")
    return by_name[name]


def path_of(name: str) -> Path:
    """Return where the checkpoint's file is, or will be once fetched."""
    checkpoint = find(name)
    if checkpoint.file is not None:
        return _shipped(checkpoint.file)
    return cache_dir() / (checkpoint.url or "").rpartition("/")[2]


def cache_dir() -> Path:
    """Return the folder of fetched checkpoints: $FEATX_CACHE, or featx's folder in the user's cache directory."""
    chosen = os.environ.get("FEATX_CACHE")
    if chosen:
        return Path(chosen).expanduser()
    import platformdirs

    return Path(platformdirs.user_cache_dir("featx"))


def _shipped(file: str) -> Path:
    try:
        folder = Path(str(resources.files("featx._weights")))
    except ModuleNotFoundError:
        # In a source tree that was not installed, weights/ is beside featx/.
        folder = Path(__file__).parent.parent / "weights"
    return folder / file


# ---------------------------------------------------------------- whether it is what it claims to be


def verify(name: str) -> str:
    """Check the local file of a registered checkpoint against its sha256 and return the full digest.

    Raises FeatxError when the file is missing, cannot be read or is another one.
    """
    checkpoint, path = find(name), path_of(name)
    try:
        with path.open("rb") as file:
            digest = sha256_of(file)
    except FileNotFoundError:
        raise FeatxError(f"checkpoint {name} is not here ({path}): run `featx weights fetch {name}`") from None
    except OSError as error:
        raise FeatxError(f"cannot read {path}: {error.strerror}") from None
    _check_digest(checkpoint, path, digest)
    return digest


def _check_digest(checkpoint: Checkpoint, path: Path, digest: str) -> None:
    if not digest.startswith(checkpoint.sha256):
        more = "…" if len(checkpoint.sha256) < 64 else ""
        raise FeatxError(
            f"{path} is not {checkpoint.name}: its sha256 is {digest}, not {checkpoint.sha256}{more};"
            f" delete it and run `featx weights fetch {checkpoint.name}`"
        )


def fetch(name: str, *, progress: Progress | None = None) -> Path:
    """Download a registered checkpoint into the cache unless it is there, check it, and return its path.

    An interrupted download is continued by the next call. `progress` is called with the bytes so far
    and the bytes in all, None where the server does not tell.

    Raises FeatxError when the server cannot be reached, the download breaks off, the disk is full or
    the file is not the one registered, which is then deleted.
    """
    checkpoint, path = find(name), path_of(name)
    if checkpoint.url is None or path.exists():
        verify(name)
        return path
    download(checkpoint.url, path, name=name, sha256=checkpoint.sha256, progress=progress)
    return path


# ---------------------------------------------------------------- how it becomes a model


def load_model(architecture: str, weights: str | Path | None, *, seed: int = 0, num_classes: int | None = None) -> LoadedModel:
    """Build a model and give it weights: registered ones, those of a file, or random ones where that is said.

    weights: the name of a registered checkpoint; the path of a .safetensors, .pth or .pt file;
        "random" for untrained weights drawn from `seed`; None for the architecture's registered
        checkpoint, if its file is on this machine.
    num_classes: refused when the file has another number; random weights take any.

    Raises UsageError when there are no weights, or they belong to another model; FeatxError when a
    file is damaged or is not the registered one.
    """
    from featx.models import create_model, model_entry
    from featx.models._state import from_torchvision, is_torchvision, with_weights

    entry = model_entry(architecture)
    if weights is None:
        weights = _local_default(architecture)
    if weights == "random":
        info = {"name": "random", "sha256": None, "source": "untrained", "licence": None, "seed": seed}
        model = create_model(architecture, num_classes=num_classes, seed=seed).eval()
        return LoadedModel(model=model, transform=entry.transform, clip=entry.clip, weights_info=info)

    registered = {c.name: c for c in list_checkpoints()}
    if (checkpoint := registered.get(str(weights))) is not None:
        if checkpoint.architecture != architecture:
            raise UsageError(f"checkpoint {checkpoint.name} belongs to model {checkpoint.architecture}, not to {architecture}")
        path = path_of(checkpoint.name)
        if not path.exists():
            raise UsageError(f"checkpoint {checkpoint.name} is not here ({path}): run `featx weights fetch {checkpoint.name}`")
        state, _, digest = _read(path, checkpoint)
        info = {"name": checkpoint.name, "source": checkpoint.source, "licence": checkpoint.licence}
        transform, clip, labels = checkpoint.transform, checkpoint.clip, checkpoint.labels
    else:
        path = _file(weights, registered)
        state, described, digest = _read(path)
        found = "r3d_18" if is_torchvision(state) else described.get("architecture", architecture)
        if found != architecture:
            raise UsageError(f"{path} holds weights of model {found}, not of {architecture}")
        transform, clip, labels, info = _preprocessing(path, described, entry)
    info |= {"sha256": digest, "seed": None}
    if is_torchvision(state):
        state = from_torchvision(state)
    model = with_weights(architecture, state, where=str(path), num_classes=num_classes)
    return LoadedModel(model=model, transform=transform, clip=clip, weights_info=info, labels=labels)


def save_checkpoint(
    path: str | Path, model: Backbone, *, architecture: str, transform: Transform, clip: ClipSpec, info: Mapping[str, Any]
) -> str:
    """Write the model's weights and all that loading needs to a .safetensors file, atomically, and return its sha256.

    info: JSON values about the weights: name, source, licence, metrics, labels, whatever else is known.
    """
    import safetensors.torch

    from featx.models._state import misfit

    path = Path(path)
    if path.suffix != ".safetensors":
        raise UsageError(f"{path} must end in .safetensors")
    state = {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}
    if problem := misfit(architecture, state, num_classes=model.num_classes):
        raise UsageError(f"the model is not {architecture}: {problem}")
    description = {
        "format": 1,
        "architecture": architecture,
        "num_classes": model.num_classes,
        "transform": transform.to_dict(),
        "clip": clip.to_dict(),
        "info": dict(info),
    }
    data = safetensors.torch.save(state, {METADATA_KEY: json.dumps(description, sort_keys=True)})
    with disk_full(path):
        write_atomically(path, data)
    return hashlib.sha256(data).hexdigest()


def _local_default(architecture: str) -> str:
    names = [c.name for c in list_checkpoints() if c.architecture == architecture]
    for name in names:
        if path_of(name).exists():
            return name
    choices = [f"run `featx weights fetch {name}`" for name in names]
    choices += [
        "give your own file with --weights FILE.safetensors or FILE.pth",
        "take untrained ones with --weights random --seed 0",
    ]
    raise UsageError(f"no weights for {architecture} on this machine: {', or '.join(choices)}")


def _file(weights: str | Path, registered: Mapping[str, Checkpoint]) -> Path:
    path = Path(weights).expanduser()
    if path.suffix not in SUFFIXES:
        if path.exists():
            raise UsageError(f"{path} is no checkpoint: its name must end in {', '.join(SUFFIXES)}")
        raise UsageError(f"unknown weights {str(weights)!r}{nearest(str(weights), [*registered, 'random'])}")
    if not path.is_file():
        raise UsageError(f"there is no file {path}")
    return path


def _read(path: Path, checkpoint: Checkpoint | None = None) -> tuple[dict[str, torch.Tensor], dict[str, Any], str]:
    """Return the file's state dict, featx's description of it where it has one, and its sha256, checked before use."""
    import safetensors.torch
    import torch

    try:
        data = path.read_bytes()
    except OSError as error:
        raise FeatxError(f"cannot read {path}: {error.strerror}") from None
    digest = hashlib.sha256(data).hexdigest()
    if checkpoint is not None:
        _check_digest(checkpoint, path, digest)
    described: Any = {}
    try:
        if path.suffix == ".safetensors":
            state: Any = safetensors.torch.load(data)
            header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
            described = json.loads(header.get("__metadata__", {}).get(METADATA_KEY, "{}"))
        else:
            state = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:  # noqa: BLE001  torch's unpickler raises whatever a damaged byte leads it to
        reason = str(error).strip().partition("\n")[0].partition(". ")[0]
        raise FeatxError(f"{path} cannot be read as a checkpoint ({type(error).__name__}: {reason})") from None
    for wrapper in ("state_dict", "model_state_dict", "model"):
        if isinstance(state, dict) and isinstance(state.get(wrapper), dict):
            state = state[wrapper]
    if not isinstance(state, dict) or not state or not all(isinstance(v, torch.Tensor) for v in state.values()):
        raise FeatxError(f"{path} is no state dict: it must map names to tensors")
    if not isinstance(described, dict):
        raise FeatxError(f"{path} has a damaged description: save it again with featx")
    return {str(name).removeprefix("module."): value for name, value in state.items()}, described, digest


def _preprocessing(
    path: Path, described: Mapping[str, Any], entry: ModelEntry
) -> tuple[Transform, ClipSpec, tuple[str, ...] | None, dict[str, Any]]:
    """Return transform, clip, labels and info of a file: its own where featx wrote it, else the architecture's."""
    if not described:
        info: dict[str, Any] = {"name": path.name, "source": "a file of the user's", "licence": None}
        return entry.transform, entry.clip, None, info
    if described.get("format") != 1:
        raise FeatxError(f"{path} has a description of format {described.get('format')!r}, not 1: a newer featx wrote it")
    try:
        told = dict(described["info"])
        labels = tuple(map(str, told["labels"])) if told.get("labels") else None
        info = {"name": told.get("name") or path.name, "source": told.get("source"), "licence": told.get("licence")}
        return Transform.from_dict(described["transform"]), ClipSpec(**described["clip"]), labels, info
    except (KeyError, TypeError, ValueError, AttributeError, UsageError) as error:
        raise FeatxError(f"{path} has a damaged description ({error}): save it again with featx") from None
