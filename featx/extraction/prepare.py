"""A network made ready for clips, and the one way to run clips through it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from math import prod
from typing import TYPE_CHECKING, Any, get_args

from featx.clips import ClipSpec
from featx.errors import UsageError
from featx.extraction.engine import ClipSource, Engine, Sink, Stats
from featx.extraction.projection import Projection, check_fits, read_projection
from featx.extraction.settings import Layout, Settings
from featx.store.recorded import Decoding, Model, Recorded, SecondNetwork, Weights
from featx.system.processors import cpu_count
from featx.transforms import Transform
from featx.video.decoders import installed_decoder
from featx.video.flow import computed_by as flow_by
from featx.video.flow import recorded as flow_settings
from featx.video.flow_cache import check_folder as flow_folder
from featx.video.pool import Pool, PoolEvent
from featx.video.source import RESERVED, as_text
from featx.video.worker import DecodeSettings, Job

if TYPE_CHECKING:
    import torch
    from torch import nn

    from featx.extraction.backends import Backend
    from featx.extraction.cascade import Cascade
    from featx.models import Backbone
    from featx.weights.checkpoint import LoadedModel

# Clips a worker may be ahead of the batches: enough to work on while a batch is copied.
SLOTS = 16


@dataclass
class Prepared:
    """A network made ready, and everything that its rows depend on, as `recorded` in the feature file; notes: sentences."""

    backend: Backend
    decode: DecodeSettings
    batch_size: int
    workers: int
    timeout: float
    recorded: Recorded
    computed_by: str
    notes: list[str] = field(default_factory=list)

    def pool(self, *, workers: int | None = None) -> Pool:
        """Start the decoding processes; workers: another number of them."""
        return Pool(self.decode, workers=workers or self.workers, timeout=self.timeout)

    def job(self, key: int, path: str, **part: Any) -> Job:
        """Return the job of decoding a video with this network's decoder; part: fields of `Job`."""
        return Job(key, path, self.decode.decoder, **part)

    def run(
        self,
        jobs: Iterable[Job],
        sink: Sink,
        *,
        source: ClipSource | None = None,
        watch: Callable[[PoolEvent], None] | None = None,
        on_progress: Callable[[Stats], None] | None = None,
    ) -> Stats:
        """Run videos' clips through the network into a sink, from the first to the last.

        Args:
            jobs: The videos.
            sink: Takes the rows.
            source: Where clips come from, for several runs over the same decoding processes, or for clips that are
                in memory. By default the decoding processes are started, and ended when the last video is done.
            watch: Called with every event of the decoding processes, before anybody else sees it.
            on_progress: Called many times a second.

        Raises:
            WorkerLost: If decoding processes cannot be started. What the sink raises comes through.
        """
        if source is None:
            with self.pool() as pool:
                return self.run(jobs, sink, source=pool, watch=watch, on_progress=on_progress)
        engine = Engine(
            self.backend,
            self.decode,
            source,
            sink,
            batch_size=self.batch_size,
            watch=watch,
            on_progress=on_progress,
        )
        return engine.run(jobs)


def prepare(settings: Settings, *, loaded: LoadedModel | None = None) -> Prepared:
    """Make a network ready for clips.

    Args:
        settings: The network, its clips, and how the machine is used.
        loaded: A network in memory, of the architecture `settings.model`, instead of the one that `settings` names.

    Raises:
        UsageError: For anything unknown, impossible or not at hand.
    """
    from featx.extraction.backends.eager import resolve_device

    machine = settings.machine
    decoder = installed_decoder(machine.decoder, in_processes=True)
    projection = read_projection(settings.project) if settings.project is not None else None
    device = resolve_device(machine.device)
    batch_size = machine.batch_size or (32 if device.type == "cuda" else 8)
    network = _network(settings, loaded, device, batch_size)
    clip, transform = network.clip, network.transform
    flow_cache = flow_folder(settings.flow_cache) if settings.flow_cache is not None else None
    by_flow = (
        {} if transform.flow is None else {"flow": flow_settings(transform.input, transform.flow)}
    )
    prepared = Prepared(
        backend=network.backend,
        decode=DecodeSettings(
            clip, transform, decoder.name, SLOTS, flow_cache, max_pixels=machine.max_pixels
        ),
        batch_size=batch_size,
        workers=machine.workers or cpu_count(),
        timeout=machine.timeout,
        recorded=Recorded(
            model=network.model,
            weights=Weights(network.weights),
            layers=network.backend.layers,
            clip=clip,
            transform=transform,
            precision=network.backend.precision,
            device=device.type,
            batch_size=batch_size,
            decoder=Decoding(choice=decoder.name, versions={**decoder.versions(), **by_flow}),
        ),
        computed_by=computed_by(device) + (f"; flow by {flow_by()}" if by_flow else ""),
    )
    if projection is not None:
        _project(prepared, projection)
    if settings.cascade is not None:
        _cascade(prepared, settings, settings.cascade, network.loaded)
    return prepared


@dataclass(frozen=True, kw_only=True)
class _Network:
    """A network that runs; model, weights: what is recorded of it; loaded: where it is one of featx's own."""

    backend: Backend
    clip: ClipSpec
    transform: Transform
    model: Model
    weights: dict[str, Any]
    loaded: LoadedModel | None = None


def _network(
    settings: Settings, loaded: LoadedModel | None, device: torch.device, batch_size: int
) -> _Network:
    if not isinstance(settings.model, str):
        return _module(settings, settings.model, device, batch_size)
    from featx.extraction.backends.eager import EagerBackend
    from featx.models import model_entry
    from featx.weights.checkpoint import load_model

    entry = model_entry(settings.model)
    if loaded is None:
        loaded = load_model(settings.model, settings.weights, seed=settings.seed)
    clip = settings.clip_of(loaded.clip)
    transform = settings.transform_of(loaded.transform)
    own = entry.layers if settings.cascade is None else ["prob"]
    known = loaded.model.has_classifier
    return _Network(
        backend=EagerBackend(
            loaded.model,
            settings.layer_names if settings.layer_names is not None else own,
            precision=settings.machine.precision,
            device=device,
            input_shape=_input_shape(clip, transform),
        ),
        clip=clip,
        transform=transform,
        model=Model(
            name=settings.model,
            num_classes=loaded.model.num_classes if known else None,
        ),
        weights=loaded.weights_info | _file_of(settings.weights),
        loaded=loaded,
    )


def _module(
    settings: Settings, module: nn.Module, device: torch.device, batch_size: int
) -> _Network:
    """Make a module of the user's ready, whose clips and preprocessing the user says."""
    from torch import nn

    from featx.extraction.backends import OUTPUT
    from featx.extraction.backends.eager import EagerBackend
    from featx.models.external import about

    if isinstance(module, type):
        raise UsageError(
            f"model is the class {module.__name__}: give a module, as {module.__name__}()"
        )
    name = type(module).__name__
    if not isinstance(module, nn.Module):
        raise UsageError(
            f"model is a {name}: give a name of featx.list_models(), or a torch.nn.Module"
        )
    clip, transform = settings.clip, settings.transform
    if not isinstance(clip, ClipSpec) or not isinstance(transform, Transform):
        lacking = "transform" if isinstance(clip, ClipSpec) else "clip"
        kind = "Transform" if lacking == "transform" else "ClipSpec"
        raise UsageError(
            f"model is a {name}, and what it takes is not known: give {lacking}=featx.{kind}(...)"
        )
    for option in ("weights", "cascade"):
        if getattr(settings, option) is not None:
            raise UsageError(f"model is a {name} with its own weights: leave {option} out")
    if settings.layout not in get_args(Layout):
        raise UsageError(f"layout is {settings.layout!r}: give NCTHW or NTCHW")
    transform = settings.transform_of(transform)
    layers = settings.layer_names if settings.layer_names is not None else [OUTPUT]
    if unfit := [n for n in layers if n in RESERVED or "/" in n]:
        raise UsageError(
            f"a layer cannot be stored as {unfit[0]!r}: rename it in the module, or leave it out"
        )
    shape = _input_shape(clip, transform)
    # Two: that a row depends on its clip alone shows at the second.
    blank = min(2, batch_size)
    try:
        backend = EagerBackend(
            module,
            layers,
            precision=settings.machine.precision,
            device=device,
            input_shape=shape,
            layout=settings.layout,
            blank=blank,
        )
    except UsageError:
        raise
    except Exception as error:  # the module may raise anything
        given = shape if settings.layout == "NCTHW" else (shape[1], shape[0], *shape[2:])
        said = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UsageError(
            f"model {name} was given clips of shape {(blank, *given)} ({settings.layout}) and said: {said};"
            " give clip, transform and layout as it takes them"
        ) from error
    told = about(module)
    return _Network(
        backend=backend,
        clip=clip,
        transform=transform,
        model=Model(
            name=str(told["class"]),
            more={
                "file_sha256": told["file_sha256"],
                "structure_sha256": told["structure_sha256"],
                "layout": settings.layout,
            },
        ),
        weights={
            "seed": None,
            "name": f"{name}'s own",
            "source": "a module in memory",
            "licence": None,
            "sha256": told["parameters_sha256"],
        },
    )


def _input_shape(clip: ClipSpec, transform: Transform) -> tuple[int, int, int, int]:
    """Return (3, T, H, W) of a clip as the network gets it."""
    return (3, clip.frames, transform.crop, transform.crop)


def _cascade(
    prepared: Prepared, settings: Settings, cascade: Cascade, first: LoadedModel | None
) -> None:
    """Put a second network behind the first one."""
    if first is None:
        raise UsageError("a second network is for registered models: leave cascade out")
    from featx.extraction.backends import PROB
    from featx.extraction.backends.eager import EagerBackend
    from featx.extraction.cascade import CascadeBackend
    from featx.weights.checkpoint import load_model

    transform, clip = prepared.decode.transform, prepared.decode.clip
    if settings.layers is not None and prepared.recorded.layers != (PROB,):
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
    second = load_model(settings.architecture, cascade.weights, seed=settings.seed)
    if second.clip != first.clip or second.transform != first.transform:
        raise UsageError(
            f"{second.weights_info['name']} takes other clips or frames than {first.weights_info['name']}:"
            " give networks that were trained alike"
        )
    shape = _input_shape(clip, transform)
    device, precision = prepared.backend.device, prepared.backend.precision

    def ready(model: Backbone) -> EagerBackend:
        return EagerBackend(model, [PROB], precision=precision, device=device, input_shape=shape)

    prepared.backend = CascadeBackend(
        ready(first.model),
        ready(second.model),
        name=cascade.name,
        place=first.labels.index(cascade.gate),
        threshold=cascade.threshold,
    )
    prepared.recorded = replace(
        prepared.recorded,
        layers=prepared.backend.layers,
        cascade=SecondNetwork(
            name=cascade.name,
            gate=cascade.gate,
            threshold=cascade.threshold,
            labels=tuple(second.labels or ()),
            weights=Weights(second.weights_info | _file_of(cascade.weights)),
        ),
    )


def _project(prepared: Prepared, projection: Projection) -> None:
    widths = {name: prod(shape) for name, shape in prepared.backend.shapes.items()}
    prepared.notes += check_fits(projection, prepared.recorded, widths)
    prepared.backend.project(projection)
    prepared.recorded = replace(prepared.recorded, projection=projection.recorded())


def computed_by(device: torch.device) -> str:
    """Return what computes here, in words: rows are equal to the bit only where this is."""
    import torch

    name = (
        torch.cuda.get_device_name(device)
        if device.type == "cuda"
        else torch.backends.cpu.get_cpu_capability()
    )
    return f"torch {torch.__version__}, {name}"


def _file_of(weights: str | None) -> dict[str, str]:
    """Where a checkpoint that is a file was: how to find it again, not what it is, which its sha256 tells."""
    if weights is None or not os.path.isfile(weights):
        return {}
    return {"file": as_text(weights)}
