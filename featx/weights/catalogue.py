"""What models there are: their sizes, layers and costs, and how these compare with what the papers print."""

from __future__ import annotations

import itertools
import re
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from featx.errors import UsageError, nearest
from featx.models import model_entry, model_names
from featx.models.count import Layer, layers
from featx.models.image_networks import counterparts, transferable
from featx.models.printed import Comparison
from featx.models.registry import ModelEntry, skeleton
from featx.report import table
from featx.system.text import Text, joined, visible
from featx.weights.manifest import Checkpoint

#: What tells residual blocks of one group apart: res4a, res4b ... or res4a, res4b1 ...
_BLOCK = re.compile(r"(res\d)[a-z]\d*")


@dataclass(frozen=True, kw_only=True)
class Model:
    """A model with its own classifier and clips: its named layers in order, and `prob` for the softmax.

    minimum: the smallest clip (T, H, W) that it takes; takes: all sizes that it takes, in words.
    from_2d: the image network that `featx weights from-2d` takes its spatial layers from, and their trainable numbers.
    """

    entry: ModelEntry
    layers: list[Layer]
    minimum: tuple[int, int, int]
    takes: str
    from_2d: tuple[str, int] | None = None

    @property
    def params(self) -> int:
        """Trainable numbers."""
        return sum(layer.params for layer in self.layers)

    @property
    def multiply_adds(self) -> int:
        """Of one clip's forward pass."""
        return sum(layer.multiply_adds for layer in self.layers)

    @property
    def sizes(self) -> dict[str, tuple[int, ...]]:
        """The shape of each layer's output for one clip, (C, T, H, W) or (D,), and of `prob`."""
        return {layer.name: layer.shape for layer in self.layers} | {
            "prob": (self.entry.num_classes,)
        }


def describe(name: str) -> Model:
    """Return what is known of a model; UsageError with the nearest names when there is none of that name."""
    entry = model_entry(name)
    network = skeleton(name)
    return Model(
        entry=entry,
        layers=layers(network, entry.input_shape),
        minimum=network.minimum,
        takes=network.takes,
        from_2d=transferable(network) if name in counterparts() else None,
    )


def describe_all(family: str | None = None) -> list[Model]:
    """Return what is known of every model, or of a family's, by family and name; UsageError for a family that is not there."""
    entries = sorted(map(model_entry, model_names()), key=lambda e: (e.family, e.name))
    families = {e.family for e in entries}
    if family is not None and family not in families:
        raise UsageError(f"unknown family {family!r}{nearest(family, families)}")
    return [describe(e.name) for e in entries if family in (None, e.family)]


def to_json(model: Model) -> dict[str, object]:
    """Return what is known of a model as JSON values."""
    entry = model.entry
    return {
        "name": entry.name,
        "family": entry.family,
        "source": entry.source,
        "num_classes": entry.num_classes,
        "clip": entry.clip.to_dict(),
        "transform": entry.transform.to_dict(),
        "input": list(entry.input_shape),
        "minimum": list(model.minimum),
        "from_2d": model.from_2d and {"network": model.from_2d[0], "params": model.from_2d[1]},
        "default_layers": list(entry.layers),
        "params": model.params,
        "multiply_adds": model.multiply_adds,
        "layers": [{**vars(layer), "shape": list(layer.shape)} for layer in model.layers],
    }


def list_text(models: Iterable[Model]) -> Text:
    """Return the models as one table a family."""
    parts: list[str] = []
    for family, group in itertools.groupby(models, key=lambda m: m.entry.family):
        members = list(group)
        paper = _common([m.entry.source for m in members])
        rows = [
            (
                model.entry.name,
                _by(model.entry.input_shape[1:]),
                f"{model.params / 1e6:.1f} M",
                f"{model.multiply_adds / 1e9:.1f} G",
                model.entry.source.removeprefix(paper),
            )
            for model in members
        ]
        lines = table(rows, ("name", "clip", "parameters", "multiply-adds", "source")).splitlines()
        text = [f"{family}: {paper.removesuffix(', ')}" if paper else family, "", *lines[:2]]
        for line, model in zip(lines[2:], members, strict=True):
            layers = ", ".join(names for names, _ in _grouped(model.layers))
            stored = ", ".join(f"{name} {_by(model.sizes[name])}" for name in model.entry.layers)
            text += [
                line,
                *_wrapped(f"{layers}, prob; stored unless told otherwise: {stored}", "    "),
            ]
        parts += ["", *text] if parts else text
    return joined(parts)


def layers_text(model: Model) -> Text:
    """Return a model's layer table, residual blocks that are alike in one line, as the papers print theirs."""
    entry = model.entry
    rows = []
    for names, members in _grouped(model.layers):
        params, cost = (
            sum(getattr(m, what) for m in members) for what in ("params", "multiply_adds")
        )
        first, *more = textwrap.wrap(_made_of(members), 60) or [""]
        rows.append((names, _by(members[-1].shape), first, f"{params:,}", f"{cost / 1e9:.3f}"))
        rows += [("", "", line, "", "") for line in more]
    rows.append(("prob", str(entry.num_classes), "softmax", "0", "0.000"))
    rows.append(("", "", "", f"{model.params:,}", f"{model.multiply_adds / 1e9:.3f}"))
    head = [
        f"{entry.name}: {entry.source}",
        f"clips of {entry.input_shape[1]} frames of {entry.input_shape[2]}x{entry.input_shape[3]} pixels"
        f" (it takes {model.takes}), {entry.num_classes} classes",
    ]
    if model.from_2d is not None:
        network, params = model.from_2d
        head.append(
            f"`featx weights from-2d` takes {params:,} parameters of its spatial layers from ImageNet's {network}"
        )
    return joined(
        [*head, "", table(rows, ("layer", "output", "made of", "parameters", "mult.-adds, 1e9"))]
    )


def check_text(comparisons: Iterable[Comparison]) -> Text:
    """Return printed figures beside ours, and the reasons for those that do not agree."""
    rows, reasons = [], []
    for c in comparisons:
        unit = "G" if c.printed.quantity == "multiply-adds" else "M"
        digits = max(3, len(c.printed.figure.partition(".")[2]))
        counted = (
            f"{c.theirs:.{digits}f}" if f"{c.theirs:.{digits}f}" != f"{c.ours:.{digits}f}" else ""
        )
        verdict = "agrees" if c.agrees else "explained" if c.reason else "DIFFERS"
        if c.reason:
            reasons += _wrapped(
                f"{c.printed.model}, {c.printed.where}, {c.printed.quantity}: {c.reason}",
                "",
                "    ",
            )
        name = f"{c.printed.model} {c.printed.part}".rstrip()
        quantity = c.printed.quantity if c.printed.biases else "parameters*"
        rows.append(
            (
                name,
                c.printed.where.replace(" et al.", ""),
                quantity,
                f"{c.printed.figure} {unit}",
                f"{c.ours:.{digits}f}",
                f"{100 * c.difference:+.1f} %",
                counted,
                verdict,
            )
        )
    headers = ("model", "where", "quantity", "printed", "ours", "difference", "their way", "")
    notes = ["* biases left out; their way: ours, counted as the paper must have counted", ""]
    return joined([table(rows, headers), "", *notes, *reasons])


def checkpoint_text(found: Checkpoint) -> Text:
    """Return what a checkpoint is, a line a fact."""
    classes = "no classifier" if found.num_classes is None else f"{found.num_classes} classes"
    named = f": {', '.join(found.labels)}" if found.labels else ""
    clip, frames = found.clip, found.transform
    facts = [
        ("model", f"{found.architecture}, {classes}{named}"),
        (
            "clip",
            f"{clip.frames} frames, one in {clip.step}, of {frames.crop}x{frames.crop} pixels",
        ),
        ("source", found.source),
        ("licence", found.licence or "not told"),
        ("trained on", metrics_text(found.trained_on)),
        ("training", metrics_text(found.training)),
        ("metrics", metrics_text(found.metrics)),
        ("sha256", found.sha256),
    ]
    lines = [f"{found.file}: {found.name}", ""]
    for name, text in facts:
        lines += _wrapped(f"{name:<11} {text}", "", " " * 12) if text else []
    return joined(lines)


def metrics_text(metrics: Mapping[str, object], *, within: str = "") -> str:
    """Return figures and facts by name in one line; what is measured how, `protocol`, is left to --json."""
    parts = []
    for name, value in metrics.items():
        if isinstance(value, Mapping):
            parts.append(metrics_text(value, within=f"{within}{name} "))
        elif value is not None and name != "protocol":
            parts.append(f"{within}{name}: {f'{value:.6g}' if isinstance(value, float) else value}")
    return "; ".join(part for part in parts if part)


def _common(texts: list[str]) -> str:
    """Return what several texts begin with, in whole parts between commas."""
    parts = [text.split(", ")[:-1] for text in texts]
    shared = [
        same[0]
        for same in itertools.takewhile(
            lambda column: len(set(column)) == 1, zip(*parts, strict=False)
        )
    ]
    return "".join(f"{part}, " for part in shared) if len(texts) > 1 else ""


def _made_of(members: list[Layer]) -> str:
    """Return what a layer, or residual blocks that are alike but perhaps for the first, are made of."""
    first, last = members[0].text, members[-1].text
    if len(members) == 1:
        return first
    every = f"{last} x {len(members)}"
    if first == last:
        return every
    besides = first.removeprefix(f"{last}, ")
    return f"{every}, the first {besides if besides == first else f'with {besides}'}"


def _grouped(members: Iterable[Layer]) -> Iterator[tuple[str, list[Layer]]]:
    """Yield (names, layers) with neighbouring residual blocks of one group and output size together."""

    def key(layer: Layer) -> tuple[str, tuple[int, ...]]:
        match = _BLOCK.fullmatch(layer.name)
        return (match[1] if match else layer.name, layer.shape)

    for _, group in itertools.groupby(members, key=key):
        same = list(group)
        names = [m.name for m in same]
        yield (
            (
                names[0]
                if len(names) == 1
                else f"{names[0]} ... {names[-1]}"
                if len(names) > 2
                else ", ".join(names)
            ),
            same,
        )


def _wrapped(text: str, first: str, rest: str | None = None) -> list[str]:
    return textwrap.wrap(
        visible(text), 118, initial_indent=first, subsequent_indent=first if rest is None else rest
    )


def _by(shape: Iterable[int]) -> str:
    return "x".join(str(n) for n in shape)
