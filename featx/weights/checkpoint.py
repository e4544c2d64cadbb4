"""Checkpoints: how a file becomes a model, and a model a file.

A checkpoint file is untrusted: its sha256 is checked before use where one is known, and it is read
as `featx.weights.statefile` says, which runs no code from the file.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from featx.clips import ClipSpec
from featx.errors import FeatxError, UsageError, nearest
from featx.system.files import disk_full, write_atomically
from featx.transforms import Transform
from featx.weights import manifest
from featx.weights.manifest import Checkpoint
from featx.weights.quantize import Storage, packed
from featx.weights.statefile import METADATA_KEY, SUFFIXES, StateFile, read_state

if TYPE_CHECKING:
    from featx.models import Backbone
    from featx.weights.layouts import Foreign


# Of a file's description, by storage: a featx that knows only the first says that a newer one wrote the others.
_FORMATS: dict[Storage, int] = {"float32": 1, "float16": 2, "int8": 2}
# What others go by of what a file says of itself; whatever else is in its info is only handed on.
_INFO: dict[str, type] = {
    "name": str, "source": str, "licence": str, "labels": list, "trained_on": dict, "training": dict, "metrics": dict,
}  # fmt: skip


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


@dataclass(frozen=True, kw_only=True)
class Description:
    """What a file that featx wrote says of itself. info: what `save_checkpoint` was given."""

    architecture: str
    transform: Transform
    clip: ClipSpec
    info: dict[str, Any]

    @property
    def labels(self) -> tuple[str, ...] | None:
        """Class names in the order of the logits, where they are known."""
        return tuple(map(str, self.info["labels"])) if self.info.get("labels") else None

    def weights_info(self, name: str) -> dict[str, Any]:
        """Return what of it goes into a feature file; name: the weights' name where the file tells none."""
        info = {
            "name": self.info.get("name") or name,
            "source": self.info.get("source"),
            "licence": self.info.get("licence"),
        }
        # seed: of what is untrained in it; trained_on: for whoever must not test on what was trained on.
        return info | {
            key: self.info[key] for key in ("seed", "trained_on") if self.info.get(key) is not None
        }


def in_words(weights: Mapping[str, Any]) -> str:
    """Return weights as a feature file records them in one line: their name, what they were trained on, their licence."""
    if weights["name"] == "random":
        return f"random, seed {weights['seed']}: features of an untrained network"
    on = weights.get("trained_on")
    if isinstance(on, Mapping) and on.get("dataset"):
        part = f", {on['subset']}" if on.get("subset") else ""
        split = f" split {on['split']}" if on.get("split") is not None else ""
        size = next(
            (
                f" ({on[unit]:,} {unit})"
                for unit in ("videos", "samples")
                if isinstance(on.get(unit), int)
            ),
            "",
        )
        # How many clips were generated is the last run's number, and what it began from has seen others.
        what = (
            "trained on generated motion"
            if "generator" in on
            else f"trained on {on['dataset']}{split}{part}{size}"
        )
    else:
        what = str(weights.get("source") or "it is not told what they were trained on")
    told = f"{weights['name']}: {what}; licence: {weights.get('licence') or 'not told'}"
    # A file may call itself anything, and this goes to terminals.
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in told)


# ---------------------------------------------------------------- how it becomes a model


def architecture_of(weights: str | Path) -> str:
    """Return the model that a registered checkpoint, or a file that featx wrote, is for; UsageError where it does not say."""
    registered = {c.name: c for c in manifest.list_checkpoints()}
    if (checkpoint := registered.get(str(weights))) is not None:
        return checkpoint.architecture
    if weights == "random":
        raise UsageError("random weights belong to any model: name one with --model")
    path = _file(weights, registered)
    found = read_state(path).described.get("architecture")
    if not isinstance(found, str):
        raise UsageError(f"{path} does not say which model it is for: name it with --model")
    return found


def describe(path: str | Path) -> Checkpoint:
    """Return what a file that featx wrote says of itself, as the manifest would have it with the file in weights/.

    path: the file, or the name of a registered checkpoint, for what the manifest has.

    Raises UsageError where the file is not featx's own, FeatxError where it is damaged.
    """
    from featx.models import model_entry
    from featx.weights.layouts import with_weights

    found = Path(path).expanduser()
    if (
        found.suffix not in SUFFIXES
        and (row := {c.name: c for c in manifest.list_checkpoints()}.get(str(path))) is not None
    ):
        return row
    file, told = read_own(found)
    entry = model_entry(told.architecture)
    model = with_weights(entry.name, file.state, where=str(found))
    return Checkpoint(
        name=str(told.info.get("name") or found.stem),
        architecture=entry.name,
        num_classes=model.num_classes if model.has_classifier else None,
        format="featx",
        sha256=file.sha256,
        file=found.name,
        transform=told.transform,
        clip=told.clip,
        licence=told.info.get("licence"),
        source=told.info.get("source"),
        trained_on=told.info.get("trained_on") or {},
        training=told.info.get("training") or {},
        metrics=told.info.get("metrics") or {},
        labels=told.labels,
    )


def load_model(
    architecture: str, weights: str | Path | None, *, seed: int = 0, num_classes: int | None = None
) -> LoadedModel:
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
    from featx.weights.layouts import NO_CLASSIFIER, with_weights

    entry = model_entry(architecture)
    if weights is None:
        weights = _local_default(architecture)
    if weights == "random":
        info = {
            "name": "random",
            "sha256": None,
            "source": "untrained",
            "licence": None,
            "seed": seed,
        }
        model = create_model(architecture, num_classes=num_classes, seed=seed).eval()
        return LoadedModel(
            model=model, transform=entry.transform, clip=entry.clip, weights_info=info
        )

    path, checkpoint = _found(architecture, weights)
    file = read_state(
        path,
        check=partial(manifest.check_digest, checkpoint, path) if checkpoint is not None else None,
    )
    foreign = _translated(architecture, file, path)
    told = _told(path, file, foreign, checkpoint, architecture)
    state, where = (
        (file.state, str(path))
        if foreign is None
        else (foreign.state, f"{path}, its tensors under featx's names,")
    )
    model = with_weights(architecture, state, where=where, num_classes=num_classes)
    notes = []
    if foreign is not None:
        # Of a registered checkpoint the manifest tells what a user's file leaves to be assumed.
        notes += [
            note
            for note in (foreign.changed, foreign.assumed if checkpoint is None else None)
            if note
        ]
    if not model.has_classifier:
        notes.append(NO_CLASSIFIER)
    info = {"seed": None, **told.weights_info(path.name), "sha256": file.sha256} | (
        {"note": "; ".join(notes)} if notes else {}
    )
    return LoadedModel(
        model=model, transform=told.transform, clip=told.clip, weights_info=info, labels=told.labels
    )


def _found(architecture: str, weights: str | Path) -> tuple[Path, Checkpoint | None]:
    """Return the file that is meant, and its registration where that has one."""
    registered = {c.name: c for c in manifest.list_checkpoints()}
    if (checkpoint := registered.get(str(weights))) is None:
        return _file(weights, registered), None
    if checkpoint.architecture != architecture:
        raise UsageError(
            f"checkpoint {checkpoint.name} belongs to model {checkpoint.architecture}, not to {architecture}"
        )
    path = manifest.path_of(checkpoint.name)
    if not path.exists():
        raise UsageError(f"checkpoint {checkpoint.name} is not here ({path}): {checkpoint.remedy}")
    return path, checkpoint


def _told(
    path: Path,
    file: StateFile,
    foreign: Foreign | None,
    checkpoint: Checkpoint | None,
    architecture: str,
) -> Description:
    """Return what is known of weights: by the file where featx wrote it, by the manifest, or by the architecture."""
    from featx.models import model_entry

    layout = foreign.layout if foreign is not None else "featx"
    if checkpoint is not None and checkpoint.format != layout:
        raise FeatxError(
            f"{path} is not laid out as {checkpoint.format}: the row of {checkpoint.name} in the manifest is wrong"
        )
    if file.described:
        told = description(path, file.described)
        if told.architecture != architecture:
            raise UsageError(
                f"{path} holds weights of model {told.architecture}, not of {architecture}"
            )
        return (
            told
            if checkpoint is None
            else replace(told, info={**told.info, "name": checkpoint.name})
        )
    if checkpoint is not None:
        info = {name: getattr(checkpoint, name) for name in ("name", "source", "licence", "labels")}
        return Description(
            architecture=architecture,
            transform=checkpoint.transform,
            clip=checkpoint.clip,
            info=info,
        )
    entry = model_entry(architecture)
    transform = (
        foreign.transform
        if foreign is not None and foreign.transform is not None
        else entry.transform
    )
    info = {"name": path.name, "source": "a file of the user's", "licence": None}
    return Description(architecture=architecture, transform=transform, clip=entry.clip, info=info)


def _translated(architecture: str, file: StateFile, path: Path) -> Foreign | None:
    from featx.weights.layouts import translated

    if file.described:  # featx wrote it, under its own names
        return None
    return translated(
        architecture, file.state, where=str(path), arch=file.arch, parallel=file.parallel
    )


def save_checkpoint(
    path: str | Path,
    model: Backbone,
    *,
    architecture: str,
    transform: Transform,
    clip: ClipSpec,
    info: Mapping[str, Any],
    storage: Storage = "float32",
) -> str:
    """Write the model's weights and all that loading needs to a .safetensors file, atomically, and return its sha256.

    A classifier that the model's weights came without is left out again.

    info: JSON values about the weights: name, source, licence, metrics, labels, whatever else is known.
    storage: how the file holds the kernels; see `featx.weights.quantize`.
    """
    import safetensors.torch

    from featx.weights.layouts import misfit

    path = Path(path)
    if path.suffix != ".safetensors":
        raise UsageError(f"{path} must end in .safetensors")
    state = {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}
    if problem := misfit(architecture, state, num_classes=model.num_classes):
        raise UsageError(f"the model is not {architecture}: {problem}")
    if not model.has_classifier:
        state = {
            name: value
            for name, value in state.items()
            if not name.startswith(f"{model.classifier}.")
        }
    description = {
        "format": _FORMATS[storage],
        "architecture": architecture,
        "num_classes": model.num_classes,
        "transform": transform.to_dict(),
        "clip": clip.to_dict(),
        "info": dict(info),
    } | ({"storage": storage} if storage != "float32" else {})
    data = safetensors.torch.save(
        packed(state, storage), {METADATA_KEY: json.dumps(description, sort_keys=True)}
    )
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


def from_2d(
    architecture: str,
    state: str | Path,
    out: str | Path,
    *,
    num_classes: int | None = None,
    seed: int = 0,
) -> From2D:
    """Write a checkpoint whose spatial layers are those of an ImageNet network and whose other layers are untrained.

    state: a .pth, .pt or .safetensors file of the 2D counterpart's weights under torchvision's names.
    out: a .safetensors file. num_classes: the model's own number by default. seed: of the untrained layers.

    The file's name and source say what is trained in it, and so does every feature file made with it.

    Raises UsageError when the model has no 2D counterpart or the file is not its weights.
    """
    from featx.models import create_model, model_entry
    from featx.weights.from_2d import fill

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
    digest = save_checkpoint(
        path,
        model,
        architecture=architecture,
        transform=entry.transform,
        clip=entry.clip,
        info=info,
    )
    return From2D(
        network=made.network,
        parameters=made.parameters,
        layers=made.layers,
        source=source,
        sha256=digest,
    )


def _local_default(architecture: str) -> str:
    names = [c.name for c in manifest.list_checkpoints() if c.architecture == architecture]
    for name in names:
        if manifest.path_of(name).exists():
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
        raise UsageError(
            f"unknown weights {str(weights)!r}{nearest(str(weights), [*registered, 'random'])}"
        )
    if not path.is_file():
        raise UsageError(f"there is no file {path}")
    return path


def read_own(path: str | Path) -> tuple[StateFile, Description]:
    """Read a file that featx wrote, with what it says of itself; UsageError for any other, FeatxError for a damaged one."""
    path = Path(path)
    if path.suffix != ".safetensors":
        raise UsageError(
            f"{path} is no checkpoint of featx's own: its name must end in .safetensors"
        )
    if not path.is_file():
        raise UsageError(f"there is no file {path}")
    file = read_state(path)
    if not file.described:
        raise UsageError(
            f"{path} says nothing of itself: give a .safetensors file that featx wrote, such as featx train's"
        )
    return file, description(path, file.described)


def description(path: Path, described: Mapping[str, Any]) -> Description:
    """Return what a file that featx wrote says of itself; FeatxError where that is damaged or of a later format."""
    if described.get("format") not in _FORMATS.values():
        formats = " or ".join(map(str, sorted(set(_FORMATS.values()))))
        raise FeatxError(
            f"{path} has a description of format {described.get('format')!r}, not {formats}: a newer featx wrote it"
        )
    try:
        found = Description(
            architecture=str(described["architecture"]),
            transform=Transform.from_dict(described["transform"]),
            clip=ClipSpec(**described["clip"]),
            info=dict(described["info"]),
        )
        for name, kind in _INFO.items():
            if not isinstance(value := found.info.get(name), kind | None):
                raise TypeError(f"its {name} is {value!r}")
        return found
    except (KeyError, TypeError, ValueError, AttributeError, UsageError) as error:
        raise FeatxError(
            f"{path} has a damaged description ({error}): save it again with featx"
        ) from None
