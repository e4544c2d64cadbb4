"""What a feature file says of how its rows were made, and how two files differ in it."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from featx.clips import ClipSpec
from featx.transforms import Transform

# Datasets of a video that are no layers.
PLACES = ("clip_frames", "clip_times")
# Names of the parts, as a file's attributes have them. Those of OF_SOME stand only in files that have such a thing.
PROJECTION, CASCADE = "projection", "cascade"
ALL = (
    "model",
    "weights",
    "layers",
    "clip",
    "transform",
    "precision",
    "device",
    "batch_size",
    "decoder",
)
OF_SOME = (PROJECTION, CASCADE)
# What a clip's row shows. Where the clips lie, and how exactly a row was computed, change no row's meaning.
ROW = ("model", "weights", "clip", "transform", PROJECTION, CASCADE)
# What a message has room for, and what is said first: a network has its own layers, clips and transforms.
_MOST_TOLD = 2
_LONGEST = 80
_FIRST = ("model.name", "weights.name", "model.file_sha256", "weights.sha256", "weights.seed")
_WHERE = ("stride", "tail", "count")
# Types of what others go by of a part; whatever else is in it is only handed on.
_MODEL: dict[str, Any] = {"name": str, "num_classes": int | None, "layout": str | None}
_WEIGHTS: dict[str, Any] = {
    "name": str, "seed": int | None, **dict.fromkeys(("sha256", "file", "source", "licence"), str | None),
}  # fmt: skip
_DECODING: dict[str, Any] = {"choice": str, "flow": Mapping | None}
_PROJECTED: dict[str, Any] = {
    "layer": str, "dims": int, "from": int, "fitted_on": Mapping, "explained": int | float, "file": str, "sha256": str,
}  # fmt: skip
_SECOND: dict[str, Any] = {
    "name": str, "gate": str, "threshold": int | float, "labels": list | tuple, "weights": Mapping,
}  # fmt: skip
_TRANSFORM: dict[str, Any] = {"crop": int, "flip": bool | None}
_RECORDED: dict[str, Any] = {
    **dict.fromkeys(("model", "weights", "clip", "transform", "decoder"), Mapping),
    "layers": list | tuple, "precision": str, "device": str, "batch_size": int,
    **dict.fromkeys((PROJECTION, CASCADE), Mapping | None),
}  # fmt: skip


def _check(part: str, values: Any, kinds: Mapping[str, Any]) -> None:
    """Raise TypeError or KeyError where JSON values are not of these types."""
    if not isinstance(values, Mapping):
        raise TypeError(f"{part} is {_short(values)}, no table of values")
    for name, kind in kinds.items():
        optional = isinstance(None, kind)
        if name not in values and not optional:
            raise KeyError(f"{part} has no {name}")
        value = values.get(name)
        # True is an int to Python.
        right = isinstance(value, kind) and (not isinstance(value, bool) or kind == bool | None)
        if not right:
            raise TypeError(f"{name} of {part} is {_short(value)}")


def _check_names(part: str, names: Sequence[Any]) -> None:
    if not all(isinstance(each, str) and each for each in names) or len(set(names)) != len(names):
        raise ValueError(f"{part} is no list of names")


@dataclass(frozen=True)
class Weights:
    """The weights that made the rows.

    Attributes:
        values: All that is known of them, as JSON values.
    """

    values: Mapping[str, Any]

    def __post_init__(self) -> None:
        _check("weights", self.values, _WEIGHTS)

    @property
    def name(self) -> str:
        """Name of the checkpoint or of its file; "random" for untrained weights."""
        return str(self.values["name"])

    @property
    def sha256(self) -> str | None:
        """Of the checkpoint's file."""
        return self.values.get("sha256")

    @property
    def seed(self) -> int | None:
        """Seed of what is untrained."""
        return self.values.get("seed")

    @property
    def file(self) -> str | None:
        """Where the checkpoint's file was, if it was a file of the user's."""
        return self.values.get("file")

    @property
    def source(self) -> str | None:
        """Where the weights are from, in words."""
        return self.values.get("source")

    @property
    def licence(self) -> str | None:
        """Their licence."""
        return self.values.get("licence")

    @property
    def trained_on(self) -> Mapping[str, Any]:
        """What they were trained on: dataset, split, subset, ...; empty where it is not told."""
        told = self.values.get("trained_on")
        return told if isinstance(told, Mapping) else {}


@dataclass(frozen=True, kw_only=True)
class Model:
    """The network that made the rows.

    Attributes:
        name: A registered model, or the class of a module of the user's.
        num_classes: Rows of its classifier; None where it has none, or where that is not known.
        more: What else is recorded of a module of the user's: file_sha256 and layout.
    """

    name: str
    num_classes: int | None = None
    more: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {"name": self.name, "num_classes": self.num_classes, **self.more}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Model:
        """Return what JSON values say."""
        _check("model", values, _MODEL)
        more = {k: v for k, v in values.items() if k not in ("name", "num_classes")}
        return cls(name=values["name"], num_classes=values["num_classes"], more=more)


@dataclass(frozen=True, kw_only=True)
class Decoding:
    """What decoded the videos.

    Attributes:
        choice: The decoder's name.
        versions: Versions by library, and what flow was computed by.
    """

    choice: str
    versions: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {"choice": self.choice, **self.versions}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Decoding:
        """Return what JSON values say."""
        _check("decoder", values, _DECODING)
        versions = {k: v for k, v in values.items() if k != "choice"}
        return cls(choice=values["choice"], versions=versions)


@dataclass(frozen=True, kw_only=True)
class Projected:
    """A projection that a layer's rows were stored through (`featx.extraction.projection`).

    Attributes:
        layer: The layer.
        dims: K, numbers that a row has now.
        width: D, numbers that it had.
        fitted_on: dataset, split, subset and number of videos.
        explained: Share of their variance that is kept.
        file, sha256: The projection's file.
    """

    layer: str
    dims: int
    width: int
    fitted_on: Mapping[str, Any]
    explained: float
    file: str
    sha256: str

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "layer": self.layer,
            "dims": self.dims,
            "from": self.width,
            "length_1_first": True,
            "fitted_on": dict(self.fitted_on),
            "explained": self.explained,
            "file": self.file,
            "sha256": self.sha256,
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Projected:
        """Return what JSON values say."""
        _check(PROJECTION, values, _PROJECTED)
        names = ("layer", "dims", "fitted_on", "explained", "file", "sha256")
        return cls(width=values["from"], **{name: values[name] for name in names})


@dataclass(frozen=True, kw_only=True)
class SecondNetwork:
    """A second network that saw some of the clips (`featx.extraction.cascade`).

    Attributes:
        name: The layer that its probabilities are stored as.
        gate: The first network's class that lets a clip through.
        threshold: Least probability of it.
        labels: Classes of the second network.
        weights: Its checkpoint.
    """

    name: str
    gate: str
    threshold: float
    labels: tuple[str, ...]
    weights: Weights

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "name": self.name,
            "gate": self.gate,
            "threshold": self.threshold,
            "labels": list(self.labels),
            "weights": dict(self.weights.values),
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> SecondNetwork:
        """Return what JSON values say."""
        _check(CASCADE, values, _SECOND)
        if not all(isinstance(each, str) for each in values["labels"]):
            raise ValueError("labels of cascade are no list of names")
        return cls(
            name=values["name"],
            gate=values["gate"],
            threshold=values["threshold"],
            labels=tuple(values["labels"]),
            weights=Weights(values["weights"]),
        )


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """How a feature file's rows were made; two files' rows go together where it is the same.

    Attributes:
        model, weights: The network.
        layers: What is stored of it.
        clip: Which frames make a clip.
        transform: How frames become the network's input.
        precision: "float32" or "bf16".
        device: "cpu" or "cuda".
        batch_size: Clips computed at once.
        decoder: What decoded the videos.
        projection: Where rows were projected.
        cascade: Where a second network saw some of the clips.
    """

    model: Model
    weights: Weights
    layers: tuple[str, ...]
    clip: ClipSpec
    transform: Transform
    precision: str
    device: str
    batch_size: int
    decoder: Decoding
    projection: Projected | None = None
    cascade: SecondNetwork | None = None

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values, by the names of a feature file's attributes."""
        plain: dict[str, Any] = {
            "model": self.model.to_json(),
            "weights": dict(self.weights.values),
            "layers": list(self.layers),
            "clip": self.clip.to_dict(),
            "transform": self.transform.to_dict(),
            "precision": self.precision,
            "device": self.device,
            "batch_size": self.batch_size,
            "decoder": self.decoder.to_json(),
        }
        if self.projection is not None:
            plain[PROJECTION] = self.projection.to_json()
        if self.cascade is not None:
            plain[CASCADE] = self.cascade.to_json()
        return plain

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Recorded:
        """Return what JSON values say; KeyError, TypeError or ValueError for values that are none of `to_json`."""
        _check("the record", values, _RECORDED)
        layers = values["layers"]
        _check_names("layers", layers)
        if not layers or any("/" in name or name in (".", *PLACES) for name in layers):
            raise ValueError(
                f"layers are {_short(list(layers))}, which cannot be names of datasets"
            )
        if values["batch_size"] < 1:
            raise ValueError(f"batch_size is {values['batch_size']}")
        _check_transform(values["transform"], values["decoder"])
        projection, cascade = values.get(PROJECTION), values.get(CASCADE)
        return cls(
            model=Model.from_json(values["model"]),
            weights=Weights(values["weights"]),
            layers=tuple(layers),
            clip=ClipSpec(**values["clip"]),
            transform=Transform.from_dict(values["transform"]),
            precision=values["precision"],
            device=values["device"],
            batch_size=values["batch_size"],
            decoder=Decoding.from_json(values["decoder"]),
            projection=None if projection is None else Projected.from_json(projection),
            cascade=None if cascade is None else SecondNetwork.from_json(cascade),
        )

    def command(self, videos: str, out: str) -> str:
        """Return the command that extracts more rows of this kind; a module of the user's and a second network aside.

        What follows from the model and its checkpoint has no option.
        """
        weights, transform = self.weights, self.transform
        given: dict[str, object] = {
            "model": self.model.name,
            "weights": weights.file or weights.name,
            "seed": weights.seed or None,
            "layers": ",".join(self.layers),
            "frames": self.clip.frames,
            "step": self.clip.step,
            "stride": self.clip.stride if self.clip.count is None else None,
            "fps": self.clip.fps,
            "tail": self.clip.tail if self.clip.tail != "drop" else None,
            "clips": self.clip.count,
            "scales": ",".join(map(str, self.clip.scales)) if self.clip.scales != (1,) else None,
            "crop": transform.crop,
            "crops": transform.crops if transform.crops != "center" else None,
            "input": transform.input if transform.input != "rgb" else None,
            "flow": transform.flow if transform.input != "rgb" else None,
            "project": self.projection.file if self.projection else None,
            "flip": transform.flip or None,
        }
        words = ["featx", "extract"]
        for name, value in given.items():
            words += [f"--{name}"] if value is not None else []
            words += [str(value)] if value is not None and value is not True else []
        return shlex.join([*words, videos, out])


def _check_transform(transform: Mapping[str, Any], decoder: Mapping[str, Any]) -> None:
    _check("transform", transform, _TRANSFORM)
    size = transform.get("resize")
    sides = size if isinstance(size, list | tuple) and len(size) == 2 else [size]
    if not all(isinstance(side, int) and not isinstance(side, bool) for side in sides):
        raise TypeError(f"resize of transform is {_short(size)}")
    flow = decoder.get("flow") or {}
    if transform.get("input", "rgb") != "rgb" and "opencv" not in flow:
        raise KeyError("decoder has no flow, and the input is made of it")


def differences(
    ours: Recorded, theirs: Recorded, *, names: Sequence[str] = (*ALL, *OF_SOME)
) -> str:
    """Say how two records differ, in the parts of `names`, `name is … there and … here` for two of them.

    What others follow from comes first, and how many more differ last; empty if they agree.
    """
    a, b = (dict(_flat(_compared(each, names))) for each in (ours, theirs))
    return _told(a, b)


def row_differences(ours: Recorded, theirs: Recorded, *, names: Sequence[str] = ROW) -> str:
    """Say how two records differ in what a clip's row shows; empty if a row of one is a row of the other."""
    a, b = (dict(_flat(_compared(each, names, inside=True))) for each in (ours, theirs))
    return _told(a, b)


def _compared(record: Recorded, names: Sequence[str], *, inside: bool = False) -> dict[str, Any]:
    """Return the parts as they are compared. inside: without where the clips lie."""
    values = record.to_json()
    if inside:
        values["clip"] = {n: v for n, v in values["clip"].items() if n not in _WHERE}
    if record.projection is not None:
        # A projection is its file's content, and everything else follows from it.
        p = record.projection
        values[PROJECTION] = f"{p.dims} dimensions of {p.layer}, sha256 {p.sha256}"
    # By way of JSON, as they are stored: a tuple and a list are the same.
    found: dict[str, Any] = json.loads(json.dumps({n: values.get(n) for n in names}))
    return found


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def _told(a: dict[str, Any], b: dict[str, Any]) -> str:
    for each in (a, b):
        each.setdefault("transform.input", "rgb")
    changed = [
        n
        for n in dict.fromkeys([*a, *b])
        if a.get(n) != b.get(n) and not n.endswith("weights.file")
    ]
    if "transform.input" in changed:  # what follows from it says no more
        changed = [
            n for n in changed if n != "transform.flow" and not n.startswith("decoder.flow.")
        ]
    # Nor does what a module of the user's is made of, where it is another one.
    for name, parts in (
        ("model.name", {"model.file_sha256", "model.structure_sha256", "model.layout"}),
        ("model.file_sha256", {"model.structure_sha256"}),
    ):
        if name in changed:
            changed = [n for n in changed if n not in parts]
    if "weights.name" in changed:
        changed = [n for n in changed if n == "weights.name" or not n.startswith("weights.")]
    changed.sort(key=lambda n: _FIRST.index(n) if n in _FIRST else len(_FIRST))
    told = [
        f"{n} is {_short(a.get(n))} there and {_short(b.get(n))} here" for n in changed[:_MOST_TOLD]
    ]
    if (more := len(changed) - _MOST_TOLD) > 0:
        told.append(f"and {more} more {'setting differs' if more == 1 else 'settings differ'}")
    return ", ".join(told)


def _short(value: Any) -> str:
    if value is None:
        return "not set"
    text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
