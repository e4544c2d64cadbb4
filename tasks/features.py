"""Features by video, out of feature files and of other libraries' files: one row a video of a dataset."""

from __future__ import annotations

import contextlib
import os
import tokenize
import zipfile
import zlib
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from featx.datasets import Item, dataset_names, match_ids
from featx.errors import FeatxError, MissingKey, UsageError
from featx.store.objects import Objects, opened
from featx.store.reader import FeatureStore, NoFeatureFile
from featx.store.recorded import Recorded
from featx.system.files import check_unpacked

Rows = npt.NDArray[np.float32]
# What a task takes: a file's path, or a feature file that is open already.
Given = str | os.PathLike[str] | FeatureStore
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
    OverflowError,
    NotImplementedError,
    SyntaxError,
    tokenize.TokenError,
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
        settings: Recorded | None,
        title: str,
    ) -> None:
        self.path, self.layer, self.dims = path, layer, dims
        self.settings, self.title = settings, title
        self._to_close = contextlib.ExitStack()

    def __enter__(self) -> Features:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file, if it was opened for these features alone."""
        self._to_close.close()

    @property
    @abstractmethod
    def ids(self) -> Sequence[str]:
        """The videos' ids, as the file has them."""

    @abstractmethod
    def _clips(self, video_id: str, item: Item) -> npt.NDArray[Any]:
        """Return a video's clips, or those of the item's part, (T, D); or their mean, (D,)."""

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
        self,
        items: Sequence[Item],
        *,
        dataset: str | None = None,
        normalise: bool = True,
        on_row: Callable[[], None] | None = None,
    ) -> Rows:
        """Return (N, D) float32, a row an item: the mean over the video's clips, then, if `normalise`, L2-normalised.

        A mean of all zeros stays zero (Res3D paper, section 5.1). Raises FeatxError for items without features, and for rows
        with numbers that are not finite. on_row: called after each row.
        """
        found = self.find(items, dataset=dataset)
        wanted = [(found[item.id], item) for item in items]
        return self._matrix(wanted, normalise=normalise, on_row=on_row)

    def rows_by_id(self, ids: Sequence[str], *, normalise: bool = True) -> Rows:
        """Return (N, D) float32 as `rows` does, of videos by their ids in the file."""
        return self._matrix(
            [(each, Item(id=each, path=each, label=-1)) for each in ids], normalise=normalise
        )

    def _matrix(
        self,
        wanted: Sequence[tuple[str, Item]],
        *,
        normalise: bool,
        on_row: Callable[[], None] | None = None,
    ) -> Rows:
        out = np.empty((len(wanted), self.dims), np.float32)
        for place, (video_id, item) in enumerate(wanted):
            clips = self._clips(video_id, item)
            out[place] = video_row(
                clips, normalise=normalise, dims=self.dims, source=self.path, video=repr(video_id)
            )
            if on_row is not None:
                on_row()
        return out


def video_row(
    clips: npt.NDArray[Any],
    *,
    normalise: bool,
    dims: int,
    source: object,
    video: str,
    remedy: str = "extract it again",
) -> npt.NDArray[np.float64]:
    """Return a video's row, (D,): the mean over its clips, (T, D), then, if `normalise`, L2-normalised.

    A mean of all zeros stays zero (Res3D paper, section 5.1). clips: or their mean, (D,). dims: D. source, video, remedy: of
    the FeatxError's sentence about rows that there are none of, that are not of D numbers, or not finite.
    """
    if not len(clips):
        raise FeatxError(f"{source} has no row of {video}: {remedy}, or leave it out")
    mean = np.asarray(
        clips if clips.ndim == 1 else clips.mean(axis=0, dtype=np.float64), np.float64
    )
    if mean.shape != (dims,):
        raise FeatxError(f"{source} has {mean.size} numbers of {video}, {dims} of others: {remedy}")
    if not np.isfinite(mean).all():
        raise FeatxError(f"{source} has numbers that are not finite in {video}: {remedy}")
    # Not np.linalg.norm: its dot product has threads that cost more than they save.
    with np.errstate(over="ignore"):
        norm = float(np.sqrt(np.sum(mean * mean))) if normalise else 0.0
    if normalise and mean.any() and not 1e-100 < norm < np.inf:
        raise FeatxError(
            f"{source} has numbers of {video} that have no length in float64: scale them nearer to 1"
        )
    return mean / norm if norm > 0 else mean


def open_features(features: Given, layer: str | None = None) -> Features:
    """Open a feature file, or another library's features: improved dense trajectories, say.

    features: the file, or a `FeatureStore` of it, which then stays open.
    layer: of a feature file; by default its first. Another library's file is an .h5 with a dataset a video, named by its id,
    (D,) or (T, D), or with the datasets `ids` (N,) and `features` (N, D); an .npz with such arrays; or an .npy, (N, D), with
    the ids beside it in a .txt of the same name, one a line.
    Raises UsageError for a file that is none of these, or for a layer that it does not have.
    """
    with contextlib.ExitStack() as stack:
        found = stack.enter_context(Files()).open(features, layer)
        found._to_close.callback(stack.pop_all().close)
        return found


def listed(features: Given | Sequence[Given]) -> list[Given]:
    """Return features as a list, where a task takes one or several."""
    return [features] if isinstance(features, str | os.PathLike | FeatureStore) else list(features)


def path_of(features: Given) -> str:
    """Return where features lie."""
    return os.fspath(features.path if isinstance(features, FeatureStore) else features)


class Files:
    """The files of features that a command works on, each opened once; a context manager.

    A `FeatureStore` that is given stays open: whoever opened it closes it.
    """

    def __init__(self) -> None:
        self._stack = contextlib.ExitStack()
        self._opened: dict[str, FeatureStore | Features] = {}

    def __enter__(self) -> Files:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the files that were opened here."""
        self._stack.close()

    def has_layers(self, features: Given) -> bool:
        """Return whether a file is a feature file, which has layers, and not another library's."""
        return isinstance(self._file(features), FeatureStore)

    def open(self, features: Given, layer: str | None = None) -> Features:
        """Return a layer of a feature file, or another library's features; arguments and errors as `open_features`'."""
        file = self._file(features)
        if isinstance(file, FeatureStore):
            return _Stored(file, layer)
        if layer is not None:
            raise UsageError(
                f"layer is {layer!r}, and {file.path} has no layers: leave it out for this file"
            )
        return file

    def _file(self, features: Given) -> FeatureStore | Features:
        if isinstance(features, FeatureStore):
            return features
        path = os.fspath(features)
        if path not in self._opened:
            self._opened[path] = opened = _opened(Path(path))
            self._stack.callback(opened.close)
        return self._opened[path]


def _opened(path: Path) -> FeatureStore | Features:
    if not path.exists():
        raise UsageError(
            f"{path} is not there: give a feature file, or another library's .h5, .npz or .npy"
        )
    if path.suffix.lower() not in _NUMPYS:
        with contextlib.suppress(NoFeatureFile):
            return FeatureStore(path)
    try:
        return _another_librarys(path)
    except UsageError:
        raise
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
            return _matrix(path, archive["ids"], archive["features"])
    with contextlib.ExitStack() as stack:
        file = stack.enter_context(opened(path))
        objects = Objects(path, remedy="write it again")
        sets = {
            name: found for name in ("ids", "features") if (found := objects.get(file, name, name))
        }
        if len(sets) == 2 and isinstance(sets["ids"], h5py.Dataset):
            features = objects.dataset(file, "features", "features")
            ids = objects.array(sets["ids"], "ids")
            return _matrix(path, ids, objects.array(features, "features"))
        found = _ByVideo(path, file, objects)
        found._to_close.callback(stack.pop_all().close)
        return found


class _Stored(Features):
    """A layer of a feature file."""

    def __init__(self, store: FeatureStore, layer: str | None) -> None:
        layers, settings = store.layers, store.settings
        if layer is not None and layer not in layers:
            raise UsageError(
                f"{store.path} has the layers {', '.join(layers)}, not {layer!r}: give one of those"
            )
        chosen = layer or layers[0]
        first = next(iter(store.values()), None)
        if first is None:
            raise UsageError(f"{store.path} has no videos: extract some")
        name, weights = settings.model.name, settings.weights
        from_ = f"random weights, seed {weights.seed}" if weights.name == "random" else weights.name
        projection = settings.projection
        projected = (
            f" projected to {projection.dims}" if projection and projection.layer == chosen else ""
        )
        super().__init__(
            store.path,
            layer=chosen,
            dims=int(first.dataset(chosen).shape[1]),
            settings=settings,
            title=f"{chosen}{projected} of {name} ({from_})",
        )
        self._store = store

    @property
    def ids(self) -> Sequence[str]:
        return self._store.ids

    def _clips(self, video_id: str, item: Item) -> npt.NDArray[Any]:
        video = self._store[video_id]
        try:
            rows = video[str(self.layer)]
        except MissingKey as error:
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
                    " extract with a smaller `stride`"
                )
            rows = rows[inside]
        return rows

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
        command = self._store.settings.command("VIDEOS", str(self.path))
        return f"extract them too, with the file's own settings, as in `{command}`"


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
            double = next(i for i, count in Counter(ids).items() if count > 1)
            raise UsageError(f"{path} has the id {double!r} twice: leave one of them out")
        super().__init__(path, layer=None, dims=rows.shape[1], settings=None, title=path.name)
        self._ids, self._rows = list(ids), rows
        self._places = {each: place for place, each in enumerate(self._ids)}

    @property
    def ids(self) -> Sequence[str]:
        return self._ids

    def _clips(self, video_id: str, item: Item) -> npt.NDArray[Any]:
        return np.asarray(self._rows[self._places[video_id]])


class _ByVideo(Features):
    """Another library's HDF5 file with a dataset a video, (D,) or (T, D)."""

    def __init__(self, path: Path, file: h5py.File, objects: Objects) -> None:
        self._file, self._objects = file, objects
        self._ids: list[str] = []
        widths, numbers = set(), True
        for name, each in objects.all_below(file):
            if isinstance(each, h5py.Dataset):
                self._ids.append(name)
                numbers = numbers and each.ndim in (1, 2) and each.dtype.kind in "fiu"
                widths.add(each.shape[-1:])
        self._ids.sort()
        if len(widths) != 1 or widths == {(0,)} or not numbers:
            raise UsageError(
                f"{path} is no feature file: give one with a dataset a video, (D,) or (T, D) numbers, all of the same D"
            )
        super().__init__(
            path, layer=None, dims=int(widths.pop()[0]), settings=None, title=path.name
        )

    @property
    def ids(self) -> Sequence[str]:
        return self._ids

    def _clips(self, video_id: str, item: Item) -> npt.NDArray[Any]:
        return np.asarray(self._objects.array(self._file[video_id], video_id), np.float64)


def _matrix(path: Path, ids: npt.NDArray[Any], rows: npt.NDArray[Any]) -> _Matrix:
    # Numbers take room in the file: of ids without letters, and of rows without numbers, it may claim any number.
    if ids.shape != rows.shape[:1] or not rows.nbytes:
        raise UsageError(
            f"{path} has ids {ids.shape} and features {rows.dtype} {rows.shape}: give (N, D) numbers and N ids"
        )
    return _Matrix(path, [_text(each) for each in ids], rows)


def _loaded(path: Path) -> Any:
    if zipfile.is_zipfile(path):
        with path.open("rb") as file:
            check_unpacked(file)
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
