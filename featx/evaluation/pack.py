"""A checkpoint made smaller, with what that does to its features measured on videos."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from featx.errors import FeatxError, UsageError
from featx.extraction.engine import Rows, Sink, Stats
from featx.extraction.prepare import prepare
from featx.extraction.settings import Machine, Settings
from featx.system.files import check_target, disk_full, keep_inputs
from featx.video.source import Source, find_videos
from featx.weights.checkpoint import LoadedModel, save_checkpoint
from featx.weights.description import read_own
from featx.weights.quantize import SMALLER, packed, unpacked

if TYPE_CHECKING:
    import torch

    from featx.extraction.backends import Backend
    from featx.extraction.projection import Projection

LEAST = 0.999
_OTHER = " packed"


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """The cosine between a layer's rows by the packed and by the original network, over clips."""

    least: float
    mean: float


@dataclass(frozen=True, kw_only=True)
class Packed:
    """A smaller checkpoint. size, before: bytes of its file and of the one it was made of; layers: how its features agree."""

    path: str
    sha256: str
    storage: str
    size: int
    before: int
    layers: dict[str, Agreement]
    videos: int
    clips: int


def pack(
    weights: str | os.PathLike[str],
    out: str | os.PathLike[str],
    videos: Sequence[str | os.PathLike[str]],
    *,
    to: str = "int8",
    least: float = LEAST,
    name: str | None = None,
    licence: str | None = None,
    on_progress: Callable[[int, int], object] = lambda done, total: None,
) -> Packed:
    """Write a checkpoint of featx's own with its kernels as int8 or float16, unless its features are others then.

    The features of the model's own layers are compared on every clip of `videos`, in float32 on the CPU, as extraction makes
    them. What is measured goes into the file's metrics, beside all that the original says of itself.

    out: a .safetensors file. least: the smallest cosine that any clip's row of any layer may have. name, licence: instead of
    the original's. on_progress: called with (videos done, videos in all).

    Raises UsageError for wrong arguments; FeatxError, with nothing written, where a video cannot be read or a row is too far off.
    """
    from featx.weights.fitting import with_weights

    source, target = Path(weights).expanduser(), Path(out)
    _check(target, to, least)
    found = find_videos(videos).sources
    keep_inputs(target, [source, *(each.path for each in found)])
    file, told = read_own(source)
    if (stored := file.described.get("storage", "float32")) != "float32":
        raise UsageError(
            f"{source} is stored as {stored} already: pack the file that it was made of"
        )
    network = with_weights(told.architecture, file.state, where=str(source))
    smaller = with_weights(
        told.architecture, unpacked(packed(file.state, to), to), where=str(source)
    )
    original = LoadedModel(
        model=network,
        transform=told.transform,
        clip=told.clip,
        weights_info=told.weights_info(source.name),
        labels=told.labels,
    )
    rows = _compared(
        original, replace(original, model=smaller), told.architecture, found, on_progress
    )
    # fmean is exact, in whatever order the videos were done: the same file comes out every time.
    layers = {
        layer: Agreement(least=min(cosines), mean=fmean(cosines)) for layer, cosines in rows.items()
    }
    clips = len(next(iter(rows.values())))
    worst = min(layers, key=lambda layer: layers[layer].least)
    if not layers[worst].least >= least:
        instead = "take float16" if to == "int8" else "keep the original"
        raise FeatxError(
            f"{target} is not written: stored as {to}, {worst} of one of {clips} clips has a cosine of {layers[worst].least:.6f}"
            f" to the original's, less than {least:g}: {instead}, or give a lower `least`"
        )
    measured = {
        "storage": to,
        "videos": len(found),
        "clips": clips,
        "cosine": {n: vars(each) for n, each in layers.items()},
    }
    made_of = f"stored as {to}, from {source.name} (sha256 {file.sha256})"
    info: dict[str, Any] = {
        **told.info,
        "name": name or f"{told.info.get('name') or source.stem} ({to})",
        "source": f"{told.info.get('source') or 'a source that is not told'}; {made_of}",
        "licence": licence or told.info.get("licence"),
        "metrics": {**(told.info.get("metrics") or {}), "packed": measured},
    }
    with disk_full(target):
        target.parent.mkdir(parents=True, exist_ok=True)
    digest = save_checkpoint(
        target,
        network,
        architecture=told.architecture,
        transform=told.transform,
        clip=told.clip,
        info=info,
        storage=to,
    )
    return Packed(
        path=os.fspath(out), sha256=digest, storage=to, size=target.stat().st_size, before=source.stat().st_size,
        layers=layers, videos=len(found), clips=clips,
    )  # fmt: skip


def _check(target: Path, to: str, least: float) -> None:
    """Raise UsageError for what cannot be asked for."""
    if to not in SMALLER:
        raise UsageError(f"to is {to!r}: give {' or '.join(SMALLER)}")
    if not 0 < least <= 1:
        raise UsageError(f"least is {least:g}: give a cosine above 0 and up to 1")
    if target.suffix != ".safetensors":
        raise UsageError(f"{target} must end in .safetensors")
    check_target(target, example="packed.safetensors")


def _compared(
    original: LoadedModel,
    smaller: LoadedModel,
    architecture: str,
    sources: Sequence[Source],
    on_progress: Callable[[int, int], object],
) -> dict[str, list[float]]:
    """Return, for each of the model's own layers, the cosine of every clip of the videos."""
    layers = _own_layers(original, architecture)
    exact = Machine(precision="float32", device="cpu")
    settings = Settings(model=architecture, layers=layers, machine=exact)
    one, other = prepare(settings, loaded=original), prepare(settings, loaded=smaller)
    sink = _Cosines(sources)
    jobs = [one.job(key, source.path) for key, source in enumerate(sources)]

    def watch(stats: Stats) -> None:
        on_progress(stats.videos, len(sources))

    pair = replace(one, backend=_Pair(one.backend, other.backend))
    pair.run(jobs, sink, on_progress=watch)
    return sink.by_layer()


def _own_layers(loaded: LoadedModel, architecture: str) -> list[str]:
    from featx.extraction.backends import PROB
    from featx.models import model_entry

    needing = () if loaded.model.has_classifier else (PROB, loaded.model.classifier)
    return [layer for layer in model_entry(architecture).layers if layer not in needing]


class _Pair:
    """Two networks with the same layers, asked one after the other; the second's rows have names of their own."""

    def __init__(self, one: Backend, other: Backend) -> None:
        self._one, self._other = one, other
        self.device, self.precision = one.device, one.precision
        self.layers = (*one.layers, *(layer + _OTHER for layer in other.layers))

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        return self._one.shapes | {n + _OTHER: shape for n, shape in self._other.shapes.items()}

    def project(self, projection: Projection) -> None:
        raise ValueError("a pair of networks is compared as it is")

    def __call__(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        return self._one(x) | {layer + _OTHER: rows for layer, rows in self._other(x).items()}

    def finish(self, rows: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return rows


class _Cosines(Sink):
    """Takes a pair's rows and keeps their cosines, by video and layer; FeatxError for a video that cannot be read."""

    def __init__(self, sources: Sequence[Source]) -> None:
        self._sources = sources
        self._found: dict[int, dict[str, list[float]]] = {}

    def by_layer(self) -> dict[str, list[float]]:
        layers: dict[str, list[float]] = {}
        for found in self._found.values():
            for layer, values in found.items():
                layers.setdefault(layer, []).extend(values)
        return layers

    def rows(self, key: int, clips: list[int], rows: Rows) -> None:
        found = self._found.setdefault(key, {})
        for layer in rows:
            if not layer.endswith(_OTHER):
                found.setdefault(layer, []).extend(
                    cosines(rows[layer], rows[layer + _OTHER]).tolist()
                )

    def restarted(self, key: int) -> None:
        self._found.pop(key, None)

    def failed(self, key: int, reason: str) -> None:
        raise FeatxError(f"{self._sources[key].text} cannot be compared on: {reason}; leave it out")


def cosines(
    one: npt.NDArray[np.float32], other: npt.NDArray[np.float32]
) -> npt.NDArray[np.float64]:
    """(N, D), (N, D) -> (N,): 1 for two rows of zeros, 0 for one that is and one that is not."""
    a, b = one.astype(np.float64), other.astype(np.float64)
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    found: npt.NDArray[np.float64] = (a * b).sum(axis=1) / np.where(lengths > 0, lengths, 1.0)
    return np.where(lengths > 0, found, (a == b).all(axis=1))
