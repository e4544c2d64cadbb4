"""Checkpoints: what there is, where it is, whether it is what it claims to be, and how it becomes a model.

A checkpoint file is untrusted: its sha256 is checked before use where one is known, and it is read
as `featx.statefile` says, which runs no code from the file.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from featx.clips import ClipSpec
from featx.download import Progress, download
from featx.errors import FeatxError, UsageError, nearest
from featx.files import disk_full, sha256_of, write_atomically
from featx.statefile import METADATA_KEY, SUFFIXES, StateFile, read_state
from featx.transforms import Transform

if TYPE_CHECKING:
    from featx.models import Backbone, ModelEntry
    from featx.models._state import Foreign

# "featx", or one of featx.models._state.LAYOUTS: other libraries' names, which are mapped to ours.
Format = Literal["featx", "torchvision-video", "hara", "c3d-pytorch", "c3d-sequence", "c3d-mmaction2"]


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A registered checkpoint, as the manifest describes it.

    num_classes: None when it comes without a classifier.
    format: "featx", or the foreign layout whose names are mapped to ours.
    sha256: 64 hexadecimal digits, or as many of the first ones as its publisher tells.
    file: its name in weights/ when it ships with featx; url: where to fetch it otherwise.
    transform, clip: the preprocessing that it was trained with.
    metrics: what it reaches and by which protocol, as its source says.
    labels: class names in the order of the logits, where they are known.
    """

    name: str
    architecture: str
    num_classes: int | None
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

    weights_info: name, sha256, source, licence and seed as JSON values, for the feature file; `note` where
        something was changed or assumed in loading, or the weights have no classifier.
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


def architecture_of(weights: str | Path) -> str:
    """Return the model that a registered checkpoint, or a file that featx wrote, is for; UsageError where it does not say."""
    registered = {c.name: c for c in list_checkpoints()}
    if (checkpoint := registered.get(str(weights))) is not None:
        return checkpoint.architecture
    if weights == "random":
        raise UsageError("random weights belong to any model: name one with --model")
    path = _file(weights, registered)
    found = read_state(path).described.get("architecture")
    if not isinstance(found, str):
        raise UsageError(f"{path} does not say which model it is for: name it with --model")
    return found


def load_model(architecture: str, weights: str | Path | None, *, seed: int = 0, num_classes: int | None = None) -> LoadedModel:
    """Build a model and give it weights: registered ones, those of a file, or random ones where that is said.

    weights: the name of a registered checkpoint; the path of a .safetensors, .pth or .pt file, featx's own or one
        of torchvision's video ResNets, Hara et al.'s 3D ResNets or a port of C3D; "random" for untrained weights
        drawn from `seed`; None for the architecture's registered checkpoint, if its file is on this machine.
    num_classes: refused when the file has another number; random weights, and weights that come without a
        classifier, take any.

    Weights without a classifier load with NaN in its place, `has_classifier` False and a note.

    Raises UsageError when there are no weights, or they belong to another model; FeatxError when a
    file is damaged or is not the registered one.
    """
    from featx.models import create_model, model_entry
    from featx.models._state import NO_CLASSIFIER, with_weights

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
        file = read_state(path, check=partial(_check_digest, checkpoint, path))
        foreign = _translated(architecture, file, path)
        if checkpoint.format != (foreign.layout if foreign else "featx"):
            raise FeatxError(
                f"{path} is not laid out as {checkpoint.format}: the row of {checkpoint.name} in the manifest is wrong"
            )
        info = {"name": checkpoint.name, "source": checkpoint.source, "licence": checkpoint.licence}
        transform, clip, labels = checkpoint.transform, checkpoint.clip, checkpoint.labels
        notes = [foreign.changed] if foreign and foreign.changed else []
    else:
        path = _file(weights, registered)
        file = read_state(path)
        foreign = _translated(architecture, file, path)
        if (found := file.described.get("architecture", architecture)) != architecture:
            raise UsageError(f"{path} holds weights of model {found}, not of {architecture}")
        transform, clip, labels, info = _preprocessing(path, file.described, entry)
        if foreign is not None and foreign.transform is not None:
            transform = foreign.transform
        notes = [note for note in (foreign.changed, foreign.assumed) if note] if foreign else []
    state, where = (file.state, str(path)) if foreign is None else (foreign.state, f"{path}, its tensors under featx's names,")
    model = with_weights(architecture, state, where=where, num_classes=num_classes)
    if not model.has_classifier:
        notes.append(NO_CLASSIFIER)
    info = {"seed": None, **info, "sha256": file.sha256} | ({"note": "; ".join(notes)} if notes else {})
    return LoadedModel(model=model, transform=transform, clip=clip, weights_info=info, labels=labels)


def _translated(architecture: str, file: StateFile, path: Path) -> Foreign | None:
    from featx.models._state import translated

    if file.described:  # featx wrote it, under its own names
        return None
    return translated(architecture, file.state, where=str(path), arch=file.arch, parallel=file.parallel)


def save_checkpoint(
    path: str | Path, model: Backbone, *, architecture: str, transform: Transform, clip: ClipSpec, info: Mapping[str, Any]
) -> str:
    """Write the model's weights and all that loading needs to a .safetensors file, atomically, and return its sha256.

    A classifier that the model's weights came without is left out again.

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
    if not model.has_classifier:
        state = {name: value for name, value in state.items() if not name.startswith(f"{model.classifier}.")}
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


@dataclass(frozen=True, kw_only=True)
class From2D:
    """A checkpoint made of an image network's: what was taken over, and what the file says of it.

    network: the image network's name. parameters: how many trainable numbers are its. layers: where they are.
    source: as it will stand in a feature file. sha256: of the file that was written.
    """

    network: str
    parameters: int
    layers: tuple[str, ...]
    source: str
    sha256: str


def from_2d(architecture: str, state: str | Path, out: str | Path, *, num_classes: int | None = None, seed: int = 0) -> From2D:
    """Write a checkpoint whose spatial layers are those of an ImageNet network and whose other layers are untrained.

    state: a .pth, .pt or .safetensors file of the 2D counterpart's weights under torchvision's names.
    out: a .safetensors file. num_classes: the model's own number by default. seed: of the untrained layers.

    The file's name and source say what is trained in it, and so does every feature file made with it.

    Raises UsageError when the model has no 2D counterpart or the file is not its weights.
    """
    from featx.models import create_model, model_entry
    from featx.models._transfer import fill

    if (path := Path(out)).suffix != ".safetensors":
        raise UsageError(f"{path} must end in .safetensors")
    entry = model_entry(architecture)
    given = _file(state, {})
    read = read_state(given)
    model = create_model(architecture, num_classes=num_classes, seed=seed)
    made = fill(model, read.state, name=architecture, where=str(given))
    source = f"spatial layers from {made.network}, {given.name} (sha256 {read.sha256}); the rest untrained, seed {seed}"
    info = {
        "name": f"partly untrained {architecture}",
        "source": source,
        "licence": None,
        "seed": seed,
        "transferred": {
            "network": made.network,
            "file": given.name,
            "sha256": read.sha256,
            "parameters": made.parameters,
            "layers": list(made.layers),
        },
    }
    digest = save_checkpoint(path, model, architecture=architecture, transform=entry.transform, clip=entry.clip, info=info)
    return From2D(network=made.network, parameters=made.parameters, layers=made.layers, source=source, sha256=digest)


def _local_default(architecture: str) -> str:
    names = [c.name for c in list_checkpoints() if c.architecture == architecture]
    for name in names:
        if path_of(name).exists():
            return name
    choices = [f"run `featx weights fetch {name}`" for name in names]
    choices += [
        "give your own file with --weights FILE.safetensors or FILE.pth",
        "take untrained ones with --weights random",
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
        # seed: of what is untrained in it; trained_on: for whoever must not test on what was trained on.
        info |= {key: told[key] for key in ("seed", "trained_on") if told.get(key) is not None}
        return Transform.from_dict(described["transform"]), ClipSpec(**described["clip"]), labels, info
    except (KeyError, TypeError, ValueError, AttributeError, UsageError) as error:
        raise FeatxError(f"{path} has a damaged description ({error}): save it again with featx") from None
