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
from featx.errors import FeatxError, UsageError
from featx.system.files import disk_full, write_atomically
from featx.transforms import Transform
from featx.weights import manifest
from featx.weights.description import Description, in_words
from featx.weights.layouts import Foreign, translated
from featx.weights.manifest import Checkpoint
from featx.weights.quantize import packed
from featx.weights.statefile import METADATA_KEY, StateFile, find_file, read_state

if TYPE_CHECKING:
    from featx.models import Backbone


@dataclass(frozen=True, kw_only=True, repr=False)
class LoadedModel:
    """A model with weights, in evaluation mode, and the preprocessing that belongs to them.

    Attributes:
        model: The network.
        transform: How frames become its input.
        clip: Which frames make a clip of its input.
        weights_info: name, sha256, source, licence and seed as JSON values, for the feature file; `note` where
            something was changed or assumed in loading, or the weights have no classifier.
        labels: Class names in the order of the logits, where they are known.
    """

    model: Backbone
    transform: Transform
    clip: ClipSpec
    weights_info: dict[str, Any]
    labels: tuple[str, ...] | None = None

    def __repr__(self) -> str:
        classes = f", {self.model.num_classes} classes" if self.model.has_classifier else ""
        side = self.transform.crop
        lines = [
            f"LoadedModel({in_words(self.weights_info)}{classes};"
            f" clips of {self.clip.frames} frames of {side}x{side})"
        ]
        if note := self.weights_info.get("note"):
            lines.append(f"  note: {note}")
        return "\n".join(lines)


def architecture_of(weights: str | Path) -> str:
    """Return the model that a registered checkpoint, or a file that featx wrote, is for; UsageError where it does not say."""
    registered = {c.name: c for c in manifest.list_checkpoints()}
    if (checkpoint := registered.get(str(weights))) is not None:
        return checkpoint.architecture
    if weights == "random":
        raise UsageError("random weights belong to any model: name one, `model='NAME'`")
    path = find_file(weights, registered)
    found = read_state(path).described.get("architecture")
    if not isinstance(found, str):
        raise UsageError(f"{path} does not say which model it is for: name it, `model='NAME'`")
    return found


def load_model(
    architecture: str,
    weights: str | Path | None,
    *,
    seed: int = 0,
    num_classes: int | None = None,
    **options: Any,
) -> LoadedModel:
    """Build a model and give it weights: registered ones, those of a file, or random ones where that is said.

    Weights without a classifier load with NaN in its place, `has_classifier` False and a note.

    Args:
        architecture: A name of `featx.list_models()`.
        weights: The name of a registered checkpoint; the path of a .safetensors, .pth or .pt file, featx's own or one
            of torchvision's video ResNets, Hara et al.'s 3D ResNets or a port of C3D; "random" for untrained weights;
            None for the architecture's registered checkpoint, if its file is on this machine.
        seed: Seed for untrained weights.
        num_classes: Rows of the classifier. It is refused when the file has another number; random weights, and
            weights that come without a classifier, take any.
        **options: The model's own, such as c3d's `dropout`.

    Returns:
        The network, its clips and its preprocessing, and what is known of the weights.

    Raises:
        UsageError: When there are no weights, or they belong to another model.
        FeatxError: When a file is damaged or is not the registered one.
    """
    from featx.models import build_model, model_entry
    from featx.weights.fitting import NO_CLASSIFIER, with_weights

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
        model = build_model(architecture, num_classes=num_classes, seed=seed, **options).eval()
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
    model = with_weights(architecture, state, where=where, num_classes=num_classes, **options)
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
        return find_file(weights, registered), None
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
        told = Description.from_json(path, file.described)
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
    storage: str = "float32",
) -> str:
    """Write the model's weights and all that loading needs to a .safetensors file, atomically, and return its sha256.

    A classifier that the model's weights came without is left out again.

    info: JSON values about the weights: name, source, licence, metrics, labels, whatever else is known.
    storage: how the file holds the kernels; see `featx.weights.quantize`.
    """
    import safetensors.torch

    from featx.weights.fitting import misfit

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
    told = Description(architecture=architecture, transform=transform, clip=clip, info=dict(info))
    described = told.to_json(num_classes=model.num_classes, storage=storage)
    data = safetensors.torch.save(
        packed(state, storage), {METADATA_KEY: json.dumps(described, sort_keys=True)}
    )
    with disk_full(path):
        write_atomically(path, data)
    return hashlib.sha256(data).hexdigest()


def _local_default(architecture: str) -> str:
    names = [c.name for c in manifest.list_checkpoints() if c.architecture == architecture]
    for name in names:
        if manifest.path_of(name).exists():
            return name
    choices = [f"run `featx weights fetch {name}`" for name in names]
    choices += [
        "give your own file, `weights='FILE.safetensors'` or FILE.pth",
        "take untrained ones, `weights='random'`",
    ]
    raise UsageError(f"no weights for {architecture} on this machine: {', or '.join(choices)}")
