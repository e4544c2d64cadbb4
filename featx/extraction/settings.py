"""What is extracted and how, and a model made ready for it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import prod
from typing import TYPE_CHECKING, Any, Literal, get_args

from featx.clips import ClipSpec, Tail
from featx.errors import UsageError
from featx.extraction.engine import cpu_count
from featx.extraction.projection import Projection, check_fits, read_projection
from featx.store.file import CASCADE
from featx.transforms import Crops, FlowMethod, Input, Transform, check_crop
from featx.video.flow import computed_by as flow_by
from featx.video.flow import recorded as flow_settings
from featx.video.flow import resolve_method
from featx.video.flow_cache import check_folder as flow_folder
from featx.video.pool import Pool
from featx.video.reader import DecoderChoice, decoder_versions, has_decord
from featx.video.source import as_text
from featx.video.worker import DecodeSettings

if TYPE_CHECKING:
    import torch

    from featx.extraction.backends.eager import FeatureExtractor
    from featx.extraction.cascade import Cascade, CascadeExtractor
    from featx.weights.checkpoint import LoadedModel

# Clips a worker may be ahead of the batches: enough to work on while a batch is copied.
SLOTS = 16


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What to extract and how; everything a row depends on, and how the machine is used.

    model: a name of `featx.list_models()`. weights: a registered checkpoint, a file, "random", or
    None for the model's own if it is at hand. layers: names as in the paper, or module paths; None
    for the model's own. clip and transform settings left None are the checkpoint's. fps: "own" is each
    video's. clips: as many, evenly spread over the video, instead of one every `stride` (`ClipSpec.count`).
    crop: side of the network's input in pixels, frames being resized in proportion.
    input: "rgb", "flow" or "rgbf" (see featx.video.flow); flow: the method, "auto" for TV-L1 where OpenCV has it,
    else DIS; None for the checkpoint's, or "auto".
    scales: clips of several lengths (`ClipSpec.scales`).
    cascade: a second network for some of the clips; `layers` is then left out.
    flow_cache: a folder in which flow is kept for later extractions; the rows are the same with and without.
    project: a projection's file (`featx compact --save`), whose layer's rows are stored projected.
    precision: "auto", "bf16" or "float32". device: "auto", "cpu", "cuda", "cuda:1".
    batch_size: clips at once; None for 8 on CPU, 32 on a GPU. workers: decoding processes; None for
    one a core. timeout: seconds after which a silent decoder is taken to hang.
    """

    model: str
    weights: str | None = None
    seed: int = 0
    layers: Sequence[str] | None = None
    frames: int | None = None
    step: int | None = None
    stride: int | None = None
    fps: float | Literal["own"] | None = None
    tail: Tail | None = None
    clips: int | None = None
    scales: Sequence[int] | None = None
    crop: int | None = None
    crops: Crops | None = None
    flip: bool | None = None
    input: Input | None = None
    flow: FlowMethod | Literal["auto"] | None = None
    flow_cache: str | os.PathLike[str] | None = None
    project: str | os.PathLike[str] | None = None
    cascade: Cascade | None = None
    precision: str = "auto"
    device: str = "auto"
    batch_size: int | None = None
    decoder: DecoderChoice = "auto"
    workers: int | None = None
    timeout: float = 120.0


@dataclass
class Prepared:
    """A model made ready and everything that its rows depend on, as `recorded` in the feature file; notes: sentences."""

    extractor: FeatureExtractor | CascadeExtractor
    decode: DecodeSettings
    batch_size: int
    workers: int
    timeout: float
    recorded: dict[str, Any]
    computed_by: str
    notes: list[str] = field(default_factory=list)

    def pool(self) -> Pool:
        """Start the decoding processes."""
        return Pool(self.decode, workers=self.workers, timeout=self.timeout)


def prepare(settings: Settings, *, loaded: LoadedModel | None = None) -> Prepared:
    """Make a model ready for extraction; raises UsageError for anything unknown, impossible or not at hand.

    loaded: a model in memory, of the architecture `settings.model`, instead of the one that `settings` names.
    """
    from featx.extraction.backends.eager import FeatureExtractor, resolve_device, resolve_precision
    from featx.models import model_entry
    from featx.weights.checkpoint import load_model

    if settings.decoder == "decord" and not has_decord():
        raise UsageError("decord is not installed: pip install decord, or use --decoder pyav")
    for name, value in (("batch size", settings.batch_size), ("workers", settings.workers)):
        if value is not None and not 1 <= value <= 4096:
            raise UsageError(f"{name} is {value}: give a whole number from 1 to 4096")
    if settings.decoder not in get_args(DecoderChoice):
        raise UsageError(
            f"decoder is {settings.decoder!r}: give one of {', '.join(get_args(DecoderChoice))}"
        )
    if not settings.timeout > 0:
        raise UsageError(f"timeout is {settings.timeout:g}: give a number of seconds above 0")
    projection = read_projection(settings.project) if settings.project is not None else None
    device = resolve_device(settings.device)
    precision = resolve_precision(settings.precision, device)
    entry = model_entry(settings.model)
    if loaded is None:
        loaded = load_model(settings.model, settings.weights, seed=settings.seed)
    clip = clip_of(loaded.clip, settings)
    changed: dict[str, Any] = {
        k: v for k, v in (("crops", settings.crops), ("flip", settings.flip)) if v is not None
    }
    transform = replace(transform_of(loaded.transform, settings), **changed)
    chosen = settings.layers.split(",") if isinstance(settings.layers, str) else settings.layers
    layers = list(dict.fromkeys(chosen or (entry.layers if settings.cascade is None else ["prob"])))
    extractor = FeatureExtractor(
        loaded.model,
        layers,
        precision=precision,
        device=device,
        input_shape=(3, clip.frames, transform.crop, transform.crop),
    )
    decoder: DecoderChoice = "pyav" if settings.decoder == "auto" else settings.decoder
    batch_size = settings.batch_size or (32 if device.type == "cuda" else 8)
    flow_cache = flow_folder(settings.flow_cache) if settings.flow_cache is not None else None
    by_flow = (
        {} if transform.flow is None else {"flow": flow_settings(transform.input, transform.flow)}
    )
    prepared = Prepared(
        extractor=extractor,
        decode=DecodeSettings(clip, transform, decoder, SLOTS, flow_cache),
        batch_size=batch_size,
        workers=settings.workers or cpu_count(),
        timeout=settings.timeout,
        recorded={
            "model": {
                "name": settings.model,
                "num_classes": loaded.model.num_classes if loaded.model.has_classifier else None,
            },
            "weights": loaded.weights_info | _file_of(settings.weights),
            "layers": layers,
            "clip": clip.to_dict(),
            "transform": transform.to_dict(),
            "precision": precision,
            "device": device.type,
            "batch_size": batch_size,
            "decoder": {"choice": decoder, **decoder_versions(decoder), **by_flow},
        },
        computed_by=computed_by(device) + (f"; flow by {flow_by()}" if by_flow else ""),
    )
    if projection is not None:
        _project(prepared, projection)
    if settings.cascade is not None:
        _cascade(prepared, settings, settings.cascade, loaded)
    return prepared


def _cascade(prepared: Prepared, settings: Settings, cascade: Cascade, first: LoadedModel) -> None:
    """Put a second network behind the first one."""
    from featx.extraction.backends.eager import PROB, FeatureExtractor
    from featx.extraction.cascade import CascadeExtractor
    from featx.weights.checkpoint import load_model

    transform, clip = prepared.decode.transform, prepared.decode.clip
    if settings.layers is not None and prepared.recorded["layers"] != [PROB]:
        raise UsageError(
            f"layers is {settings.layers}, and of two networks in a row the probabilities are kept: leave it out"
        )
    if transform.n_crops > 1 or transform.flip:
        raise UsageError(
            "a second network sees the clips that the first one lets through: leave ten crops and mirroring out"
        )
    if first.labels is None or cascade.gate not in first.labels:
        has = ", ".join(first.labels or ()) or "no names"
        raise UsageError(
            f"{first.weights_info['name']} has no class {cascade.gate!r} (it has {has}): give another checkpoint"
        )
    second = load_model(settings.model, cascade.weights, seed=settings.seed)
    if second.clip != first.clip or second.transform != first.transform:
        raise UsageError(
            f"{second.weights_info['name']} takes other clips or frames than {first.weights_info['name']}:"
            " give networks that were trained alike"
        )
    shape = (3, clip.frames, transform.crop, transform.crop)
    machine: dict[str, Any] = {
        "precision": prepared.extractor.precision,
        "device": prepared.extractor.device,
    }
    prepared.extractor = CascadeExtractor(
        FeatureExtractor(first.model, [PROB], input_shape=shape, **machine),
        FeatureExtractor(second.model, [PROB], input_shape=shape, **machine),
        name=cascade.name,
        place=first.labels.index(cascade.gate),
        threshold=cascade.threshold,
    )
    prepared.recorded["layers"] = [PROB, cascade.name]
    prepared.recorded[CASCADE] = {
        "name": cascade.name,
        "gate": cascade.gate,
        "threshold": cascade.threshold,
        "labels": list(second.labels or ()),
        "weights": second.weights_info | _file_of(cascade.weights),
    }


def _project(prepared: Prepared, projection: Projection) -> None:
    widths = {name: prod(shape) for name, shape in prepared.extractor.shapes.items()}
    prepared.notes += check_fits(projection, prepared.recorded, widths)
    prepared.extractor.project(projection)
    prepared.recorded["projection"] = projection.recorded()


def computed_by(device: torch.device) -> str:
    """Return what computes here, in words: rows are equal to the bit only where this is."""
    import torch

    name = (
        torch.cuda.get_device_name(device)
        if device.type == "cuda"
        else torch.backends.cpu.get_cpu_capability()
    )
    return f"torch {torch.__version__}, {name}"


def transform_of(own: Transform, settings: Settings) -> Transform:
    """Return the checkpoint's preprocessing with the user's crop, input and flow method, where they are given."""
    if settings.crop is not None:
        check_crop(settings.crop)
        own = own.at(settings.crop)
    chosen = settings.input or own.input
    if chosen not in get_args(Input):
        raise UsageError(f"input is {chosen!r}: give one of {', '.join(get_args(Input))}")
    if chosen == "rgb":
        for name, value in (("flow", settings.flow), ("flow cache", settings.flow_cache)):
            if value is not None:
                raise UsageError(
                    f"{name} is {os.fspath(value)!r} and the input is rgb, which has no flow: give --input flow or rgbf"
                )
        return replace(own, input="rgb", flow=None)
    return replace(own, input=chosen, flow=resolve_method(settings.flow or own.flow or "auto"))


def _file_of(weights: str | None) -> dict[str, str]:
    """Where a checkpoint that is a file was: how to find it again, not what it is, which its sha256 tells."""
    return {"file": as_text(weights)} if weights is not None and os.path.isfile(weights) else {}


def clip_of(preset: ClipSpec, settings: Settings) -> ClipSpec:
    """Return the checkpoint's clip with the user's changes; a changed span moves the stride along, unless that is given too."""
    changed = {
        n: v
        for n in ("frames", "step", "fps", "tail", "scales")
        if (v := getattr(settings, n)) is not None
    }
    if settings.fps == "own":
        changed["fps"] = None
    if settings.clips is not None:
        if settings.stride is not None:
            raise UsageError(
                f"stride is {settings.stride} and clips is {settings.clips}, which have no stride: give one of the two"
            )
        changed = {"tail": "drop", "scales": (1,), **changed, "count": settings.clips}
    clip = replace(preset, **changed)
    if settings.stride is not None:
        return replace(clip, stride=settings.stride, count=None)
    return (
        replace(clip, stride=clip.span)
        if clip.span != preset.span and preset.stride == preset.span
        else clip
    )
