"""A projection of a layer's rows to fewer numbers: `featx compact --save` writes it, `featx extract --project` applies it.

An .npz, read without pickle:
    mean        (D,) float32, of the rows it was fitted on
    components  (K, D) float32, orthonormal, by falling variance
    about       JSON: format, format_version, featx_version, layer, settings (of the rows it was fitted on: model, weights, clip,
                transform, precision, ...), fitted_on (dataset, split, subset, videos), explained (share of their variance)

It is fitted on rows of length 1, and a row is brought to length 1 before it is projected.
"""

from __future__ import annotations

import io
import json
import os
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from featx.errors import UsageError
from featx.store.recorded import PROJECTION, ROW, Projected, Recorded, differences, row_differences
from featx.system.files import check_stored, disk_full, sha256_of, write_atomically
from featx.video.source import as_text

FORMAT = "featx-projection"
FORMAT_VERSION = 1
SUFFIX = ".npz"
# What writes one, in messages.
_WRITER = "`featx compact --save FILE` (in Python: featx.tasks.compact(..., save=FILE))"
# A projection is of a layer's own rows.
_ROW = tuple(name for name in ROW if name != PROJECTION)
_NOTED = ("precision", "clip")
_FITTED_ON = ("dataset", "split", "subset", "videos")

# As many as NumPy, zipfile and json have for what is no such file.
_UNREADABLE = (
    ValueError,
    KeyError,
    TypeError,
    EOFError,
    MemoryError,
    AttributeError,
    RecursionError,
    zipfile.BadZipFile,
    zlib.error,
)

Rows = npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Projection:
    """What brings a layer's rows from D numbers to K.

    mean: (D,). components: (K, D). layer: whose rows. settings: how they were made, as `FeatureStore.settings`.
    fitted_on: dataset, split, subset and number of videos. explained: the share of their variance that the components hold.
    file, sha256: of the file it was read from.
    """

    mean: Rows
    components: Rows
    layer: str
    settings: Recorded
    fitted_on: dict[str, Any]
    explained: float
    file: str = ""
    sha256: str = field(default="")

    @property
    def dims(self) -> int:
        """K, how many numbers a row has after it."""
        return len(self.components)

    @property
    def width(self) -> int:
        """D, how many it has before."""
        return len(self.mean)

    def __call__(self, rows: Rows) -> Rows:
        """Project rows, (N, D) -> (N, K), each brought to length 1 first, but for one of zeros."""
        if rows.shape[1] != self.width:
            raise UsageError(
                f"rows are {rows.shape[1]} wide and the projection takes {self.width}: give rows of its layer"
            )
        norms = np.linalg.norm(rows.astype(np.float64), axis=1, keepdims=True)
        unit = (rows / np.where(norms > 0, norms, 1)).astype(np.float32)
        return np.asarray((unit - self.mean) @ self.components.T, np.float32)

    def recorded(self) -> Projected:
        """Return what a feature file says of it."""
        return Projected(
            layer=self.layer,
            dims=self.dims,
            width=self.width,
            fitted_on=self.fitted_on,
            explained=self.explained,
            file=self.file,
            sha256=self.sha256,
        )


def write_projection(path: str | os.PathLike[str], projection: Projection) -> None:
    """Write a projection's file, whole or not at all; the same projection gives the same bytes."""
    from featx import __version__

    about = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "featx_version": __version__,
        "layer": projection.layer,
        "settings": projection.settings.to_json(),
        "fitted_on": projection.fitted_on,
        "explained": projection.explained,
    }
    content = io.BytesIO()
    arrays: dict[str, Any] = {
        "mean": projection.mean,
        "components": projection.components,
        "about": json.dumps(about),
    }
    np.savez(content, **arrays)
    target = Path(path)
    with disk_full(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(target, content.getvalue())


def read_projection(path: str | os.PathLike[str], *, sha256: str | None = None) -> Projection:
    """Read a projection's file; UsageError for one that is none, is damaged, or is not the one of that sha256."""
    path = os.fspath(path)
    try:
        with open(path, "rb") as file:
            found = sha256_of(file)
            if sha256 is not None and found != sha256:
                raise UsageError(
                    f"{path} has sha256 {found[:12]}…, not {sha256[:12]}…: give the file that made the rows"
                )
            check_stored(file)
            with np.load(file, allow_pickle=False) as arrays:
                mean, components, about = (
                    arrays["mean"],
                    arrays["components"],
                    json.loads(str(arrays["about"])),
                )
    except OSError as error:
        why = error.strerror or error
        raise UsageError(
            f"cannot read the projection {path}: {why}; give a file that {_WRITER} wrote"
        ) from error
    except UsageError:
        raise
    except _UNREADABLE as error:
        raise UsageError(
            f"{path} is not a projection's file: give one that {_WRITER} wrote"
        ) from error
    _check(path, mean, components, about)
    try:
        settings = Recorded.from_json(about["settings"])
    except (KeyError, TypeError, ValueError) as error:
        raise UsageError(
            f"{path} is damaged: it does not say how its rows were made; write it again with {_WRITER}"
        ) from error
    return Projection(
        mean=mean,
        components=components,
        layer=about["layer"],
        settings=settings,
        fitted_on=about["fitted_on"],
        explained=float(about["explained"]),
        file=as_text(os.path.abspath(path)),
        sha256=found,
    )


def _check(path: str, mean: Any, components: Any, about: Any) -> None:
    if not isinstance(about, dict) or about.get("format") != FORMAT:
        raise UsageError(f"{path} is not a projection's file: give one that {_WRITER} wrote")
    if about.get("format_version") != FORMAT_VERSION:
        raise UsageError(
            f"{path} has format version {about.get('format_version')}, this featx reads {FORMAT_VERSION}: update it"
        )
    kinds = {"layer": str, "settings": dict, "fitted_on": dict, "explained": float}
    wrong = [name for name, kind in kinds.items() if not isinstance(about.get(name), kind)]
    if wrong := wrong or [name for name in _FITTED_ON if name not in about["fitted_on"]]:
        raise UsageError(
            f"{path} is damaged: it does not say {', '.join(wrong)}; write it again with {_WRITER}"
        )
    shapes = components.ndim == 2 and components.size and mean.shape == components.shape[1:]
    if not shapes or {mean.dtype, components.dtype} != {np.dtype(np.float32)}:
        raise UsageError(
            f"{path} is damaged: mean is {mean.dtype} {mean.shape} and components {components.dtype} {components.shape}, not"
            f" float32 (D,) and (K, D); write it again with {_WRITER}"
        )
    if not (np.isfinite(mean).all() and np.isfinite(components).all()):
        raise UsageError(
            f"{path} is damaged: it has numbers that are not finite; write it again with {_WRITER}"
        )


def check_fits(projection: Projection, recorded: Recorded, widths: Mapping[str, int]) -> list[str]:
    """Raise UsageError for a projection of other rows than the settings `recorded` make; return what the user should be told.

    widths: layer -> D. Precision, and where the clips lie, do not change what a row means: told, not refused.
    """
    name = projection.file or "the projection"
    if changed := row_differences(projection.settings, recorded, names=_ROW):
        raise UsageError(
            f"{name} was fitted on other rows: {changed}; use those, or fit another with {_WRITER}"
        )
    if projection.layer not in widths:
        raise UsageError(
            f"{name} is of layer {projection.layer} and the layers are {', '.join(widths)}: add it to `layers`, or give another"
        )
    if (width := widths[projection.layer]) != projection.width:
        raise UsageError(
            f"{name} takes rows of {projection.width} numbers and {projection.layer} has {width} here: fit another with"
            f" {_WRITER}"
        )
    noted = differences(projection.settings, recorded, names=_NOTED)
    return [f"{name} was fitted on rows made otherwise: {noted}"] if noted else []
