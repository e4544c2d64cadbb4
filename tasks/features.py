"""Features by video, out of feature files and of other libraries' files: one row a video of a dataset."""

from __future__ import annotations

import contextlib
import os
import zipfile
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from featx.datasets import Item, dataset_names, match_ids
from featx.errors import FeatxError, UsageError
from featx.store.file import FORMAT, FeatureStore

Rows = npt.NDArray[np.float32]
# Videos that are named in a message.
MOST_NAMED = 5
_NUMPYS = (".npy", ".npz")
# As many as NumPy, zipfile and h5py have for arrays that are damaged or of something else than numbers and text.
_UNREADABLE = (
    OSError,
    ValueError,
    TypeError,
    KeyError,
    EOFError,
    MemoryError,
    RuntimeError,
    zipfile.BadZipFile,
    zlib.error,
)


class Features(ABC):
    """One layer's features of many videos; a context manager.

    path: the file. layer: its layer, None in another library's file. dims: D, numbers in a row.
    settings: how a feature file's rows were made (`FeatureStore.settings`), None for another library's file.
    title: what a report calls it.
    """

    def __init__(
        self,
        path: Path,
        *,
        layer: str | None,
        dims: int,
        settings: dict[str, Any] | None,
        title: str,
    ) -> None:
        self.path, self.layer, self.dims, self.settings, self.title = (
            path,
            layer,
            dims,
            settings,
            title,
        )

    def __enter__(self) -> Features:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:  # noqa: B027 - what is in memory has nothing to close
        """Close the file."""

    @property
    @abstractmethod
    def ids(self) -> Sequence[str]:
        """The videos' ids, as the file has them."""

    @abstractmethod
    def _mean(self, video_id: str, item: Item) -> npt.NDArray[np.float64]:
        """Return the mean over a video's clips, or over those of the item's part, (D,)."""

    def _failed(self, items: Iterable[Item]) -> dict[str, str]:
        """Return for each item's id why its video has no features, where the file tells."""
        return {}

    def fingerprints(self, items: Sequence[Item], *, dataset: str | None = None) -> dict[str, str]:
        """Return for each item's id what tells its video's content from another's, where the file tells."""
        return {}

    def find(self, items: Sequence[Item], *, dataset: str | None = None) -> dict[str, str]:
        """Return the file's id for each item's; FeatxError lists the items that the file has no features of.

        dataset: the name of the items' dataset; the official ones' videos are known by their names alone.
        """
        found = match_ids(
            items, self.ids, unique_names=dataset in dataset_names() or dataset == "aslan"
        )
        missing = [item for item in items if item.id not in found]
        if missing:
            failed = self._failed(missing)
            named = ", ".join(
                f"{item.id} ({failed[item.id]})" if item.id in failed else item.id
                for item in missing[:MOST_NAMED]
            )
            more = f" and {len(missing) - MOST_NAMED} more" if len(missing) > MOST_NAMED else ""
            raise FeatxError(
                f"{self.path} lacks {len(missing)} of {len(items)} videos: {named}{more}: {self._remedy(missing)}"
            )
        return found

    def _remedy(self, missing: Sequence[Item]) -> str:
        return "add their rows"

    def rows(
        self, items: Sequence[Item], *, dataset: str | None = None, normalise: bool = True
    ) -> Rows:
        """Return (N, D) float32, a row an item: the mean over the video's clips, then, if `normalise`, L2-normalised.

        A mean of all zeros stays zero (Res3D paper, section 5.1). Raises FeatxError for items without features, and for rows
        with numbers that are not finite.
        """
        found = self.find(items, dataset=dataset)
        return self._matrix([(found[item.id], item) for item in items], normalise=normalise)

    def rows_by_id(self, ids: Sequence[str], *, normalise: bool = True) -> Rows:
        """Return (N, D) float32 as `rows` does, of videos by their ids in the file."""
        return self._matrix(
            [(each, Item(id=each, path=each, label=-1)) for each in ids], normalise=normalise
        )

    def _matrix(self, wanted: Sequence[tuple[str, Item]], *, normalise: bool) -> Rows:
        out = np.empty((len(wanted), self.dims), np.float32)
        for place, (video_id, item) in enumerate(wanted):
            mean = self._mean(video_id, item)
            if mean.shape != (self.dims,):
                raise FeatxError(
                    f"{self.path} has {mean.size} numbers of {video_id!r}, {self.dims} of others: extract it again"
                )
            if not np.isfinite(mean).all():
                raise FeatxError(
                    f"{self.path} has numbers that are not finite in {video_id!r}: extract it again"
                )
            # Not np.linalg.norm: its dot product has threads that cost more than they save.
            with np.errstate(over="ignore"):
                norm = float(np.sqrt(np.sum(mean * mean))) if normalise else 0.0
            if normalise and mean.any() and not 1e-100 < norm < np.inf:
                raise FeatxError(
                    f"{self.path} has numbers of {video_id!r} that have no length in float64: scale them nearer to 1"
                )
            out[place] = mean / norm if norm > 0 else mean
        return out


def open_features(path: str | os.PathLike[str], layer: str | None = None) -> Features:
    """Open a feature file, or another library's features: improved dense trajectories, say.

    layer: of a feature file; by default its first. Another library's file is an .h5 with a dataset a video, named by its id,
    (D,) or (T, D), or with the datasets `ids` (N,) and `features` (N, D); an .npz with such arrays; or an .npy, (N, D), with
    the ids beside it in a .txt of the same name, one a line.
    Raises UsageError for a file that is none of these, or for a layer that it does not have.
    """
    path = Path(path)
    if not path.is_file():
        hint = " is a folder" if path.is_dir() else " is not there"
        raise UsageError(
            f"{path}{hint}: give a feature file, or another library's .h5, .npz or .npy"
        )
    if is_feature_file(path):
        return _Stored(path, layer)
    if layer is not None:
        raise UsageError(
            f"layer is {layer!r}, and {path} has no layers: leave it out for this file"
        )
    try:
        return _another_librarys(path)
    except _UNREADABLE as error:
        reason = (str(error) or repr(error)).splitlines()[0]
        raise UsageError(
            f"cannot read {path} as features: {reason}; give (N, D) numbers and N ids, those as text"
        ) from error


def _another_librarys(path: Path) -> Features:
    if path.suffix.lower() in _NUMPYS:
        loaded = _loaded(path)
        if isinstance(loaded, np.ndarray):
            return _Matrix(path, _ids_beside(path), loaded)
        with loaded as archive:
            if not {"ids", "features"} <= set(archive.files):
                raise UsageError(
                    f"{path} has the arrays {', '.join(archive.files)}: give one with ids and features"
                )
            return _Matrix(path, [_text(each) for each in archive["ids"]], archive["features"])
    with h5py.File(path, "r") as file:
        if {"ids", "features"} <= set(file) and isinstance(file["ids"], h5py.Dataset):
            return _Matrix(
                path, [_text(each) for each in file["ids"][()]], np.asarray(file["features"])
            )
    return _ByVideo(path)


def is_feature_file(path: str | os.PathLike[str]) -> bool:
    """Return whether a file is to be read as a feature file, which has layers, and not as another library's."""
    path = Path(path)
    return path.suffix.lower() not in _NUMPYS and not _is_foreign_hdf5(path)


class _Stored(Features):
    """A layer of a feature file."""

    def __init__(self, path: Path, layer: str | None) -> None:
        self._store = FeatureStore(path)
        layers = self._store.layers
        if layer is not None and layer not in layers:
            self._store.close()
            raise UsageError(
                f"{path} has the layers {', '.join(layers)}, not {layer!r}: give one of those"
            )
        chosen = layer or layers[0]
        settings = self._store.settings
        first = next(iter(self._store), None)
        if first is None:
            self._store.close()
            raise UsageError(f"{path} has no videos: extract some")
        name, weights = settings["model"]["name"], settings["weights"]
        from_ = (
            f"random weights, seed {weights['seed']}"
            if weights["name"] == "random"
            else weights["name"]
        )
        projection = settings.get("projection")
        projected = (
            f" projected to {projection['dims']}"
            if projection and projection["layer"] == chosen
            else ""
        )
        super().__init__(
            path,
            layer=chosen,
            dims=int(first.dataset(chosen).shape[1]),
            settings=settings,
            title=f"{chosen}{projected} of {name} ({from_})",
        )

    def close(self) -> None:
        self._store.close()

    @property
    def ids(self) -> Sequence[str]:
        return self._store.ids

    def _mean(self, video_id: str, item: Item) -> npt.NDArray[np.float64]:
        video = self._store[video_id]
        try:
            rows = video[str(self.layer)]
        except UsageError as error:
            raise FeatxError(
                f"{self.path} has no {self.layer} of {video_id!r}: extract it again"
            ) from error
        if item.start is not None or item.end is not None:
            middle = video.clip_times.mean(axis=1)
            inside = (middle >= (item.start or 0.0)) & (
                middle < (np.inf if item.end is None else item.end)
            )
            if not inside.any():
                raise FeatxError(
                    f"{self.path} has no clip whose middle lies in {item.id}, {item.start or 0:g} to {item.end} s:"
                    " extract with a smaller --stride"
                )
            rows = rows[inside]
        _check_some(rows, self.path, video_id)
        return np.asarray(rows.mean(axis=0, dtype=np.float64))

    def fingerprints(self, items: Sequence[Item], *, dataset: str | None = None) -> dict[str, str]:
        found = self.find(items, dataset=dataset)
        told = {}
        for i, known in found.items():
            with contextlib.suppress(
                KeyError
            ):  # one attribute is read 15 times as fast as all of them
                told[i] = str(self._store[known].attr("fingerprint"))
        return {i: text for i, text in told.items() if text}

    def _failed(self, items: Iterable[Item]) -> dict[str, str]:
        why = {os.path.realpath(path): reason for path, reason in self._store.failures}
        return {i.id: why[real] for i in items if (real := os.path.realpath(i.path)) in why}

    def _remedy(self, missing: Sequence[Item]) -> str:
        settings = self._store.settings
        weights = settings["weights"]
        source = weights.get("file", weights["name"])
        projection = settings.get("projection")
        project = f" --project {projection['file']}" if projection else ""
        return (
            "extract them too, with the file's own settings, as in `featx extract --model "
            f"{settings['model']['name']} --weights {source} --layers {','.join(settings['layers'])}{project} VIDEOS {self.path}`"
        )


class _Matrix(Features):
    """Another library's rows, one a video."""

    def __init__(self, path: Path, ids: Sequence[str], rows: npt.NDArray[Any]) -> None:
        if (
            rows.ndim != 2
            or rows.dtype.kind not in "fiu"
            or not rows.shape[1]
            or len(ids) != len(rows)
        ):
            raise UsageError(
                f"{path} has {len(ids)} ids and features {rows.dtype} {rows.shape}: give (N, D) numbers and N ids"
            )
        if len(set(ids)) != len(ids):
            double = next(i for i in ids if list(ids).count(i) > 1)
            raise UsageError(f"{path} has the id {double!r} twice: leave one of them out")
        super().__init__(path, layer=None, dims=rows.shape[1], settings=None, title=path.name)
        self._ids, self._rows = list(ids), rows
        self._places = {each: place for place, each in enumerate(self._ids)}

    @property
    def ids(self) -> Sequence[str]:
        return self._ids

    def _mean(self, video_id: str, item: Item) -> npt.NDArray[np.float64]:
        return np.asarray(self._rows[self._places[video_id]], np.float64)


class _ByVideo(Features):
    """Another library's HDF5 file with a dataset a video, (D,) or (T, D)."""

    def __init__(self, path: Path) -> None:
        self._file = h5py.File(path, "r")
        self._ids: list[str] = []
        self._file.visititems(
            lambda name, found: self._ids.append(name) if isinstance(found, h5py.Dataset) else None
        )
        widths = {
            self._file[name].shape[-1:] for name in self._ids if self._file[name].ndim in (1, 2)
        }
        numbers = all(
            self._file[name].ndim in (1, 2) and self._file[name].dtype.kind in "fiu"
            for name in self._ids
        )
        if len(widths) != 1 or widths == {(0,)} or not numbers:
            self._file.close()
            raise UsageError(
                f"{path} is no feature file: give one with a dataset a video, (D,) or (T, D) numbers, all of the same D"
            )
        super().__init__(
            path, layer=None, dims=int(widths.pop()[0]), settings=None, title=path.name
        )

    def close(self) -> None:
        self._file.close()

    @property
    def ids(self) -> Sequence[str]:
        return self._ids

    def _mean(self, video_id: str, item: Item) -> npt.NDArray[np.float64]:
        rows = np.asarray(self._file[video_id][()], np.float64)
        _check_some(rows, self.path, video_id)
        return rows if rows.ndim == 1 else np.asarray(rows.mean(axis=0))


def _check_some(rows: npt.NDArray[Any], path: Path, video_id: str) -> None:
    if not len(rows):
        raise FeatxError(f"{path} has no row of {video_id!r}: extract it again, or leave it out")


def _is_foreign_hdf5(path: Path) -> bool:
    try:
        with h5py.File(path, "r") as file:
            return bool(file.attrs.get("format") != FORMAT)
    except OSError:
        return False  # FeatureStore says why


def _loaded(path: Path) -> Any:
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except _UNREADABLE as error:
        raise UsageError(
            f"cannot read {path} as NumPy's: give an array of numbers, or an .npz of ids and features"
        ) from error


def _ids_beside(path: Path) -> list[str]:
    beside = path.with_suffix(".txt")
    if not beside.is_file():
        raise UsageError(
            f"{path} does not say whose its rows are: write the videos' ids to {beside}, one a line"
        )
    return [
        line
        for line in (raw.strip() for raw in beside.read_text(encoding="utf-8").splitlines())
        if line
    ]


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
