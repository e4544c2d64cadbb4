"""Commands about networks and their weights."""

from __future__ import annotations

from collections.abc import Mapping

import click

from featx.cli.messages import echo
from featx.cli.options import json_option
from featx.errors import UsageError
from featx.system.terminal import bar
from featx.system.text import Text, json_text
from featx.weights.quantize import SMALLER


@click.command()
@click.argument("name", required=False)
@click.option(
    "--family",
    help="Only this family's models: asymmetric, c3d, hara, semi-cnn, torchvision or tran2017.",
)
@click.option(
    "--check", is_flag=True, help="Compare every size and cost that the papers print with ours."
)
@json_option
def models(name: str | None, family: str | None, check: bool, as_json: bool) -> int:
    """List the models, show one's layers, or compare all with the papers.

    Parameters and multiply-adds are those with the model's own number of classes and its own clips;
    any layer named here can be given to `extract --layers`.

    Exit status: 1 when --check finds a figure that neither agrees nor is explained.

    \b
    Example:
      featx models --family hara
      featx models res3d
      featx models --check
    """
    from featx.weights import catalogue

    if (name is not None) + (family is not None) + check > 1:
        raise UsageError("give one of a model's name, --family and --check")
    if check:
        from featx.models.printed import compare

        found = compare()
        shown = [{**vars(c), "printed": vars(c.printed), "difference": c.difference} for c in found]
        echo(json_text(shown) if as_json else catalogue.check_text(found))
        return 0 if all(c.agrees or c.reason for c in found) else 1
    if name is not None:
        model = catalogue.describe(name)
        echo(json_text(catalogue.to_json(model)) if as_json else catalogue.layers_text(model))
        return 0
    all_models = catalogue.describe_all(family)
    echo(
        json_text([catalogue.to_json(m) for m in all_models])
        if as_json
        else catalogue.list_text(all_models)
    )
    return 0


@click.group()
def weights() -> None:
    """List, fetch, verify and describe checkpoints; make one smaller, wider, or of an image network's.

    \b
    Example:
      featx weights list
    """


@weights.command("list")
@json_option
def weights_list(as_json: bool) -> None:
    """List the registered checkpoints: what they are, where they are from, and whether they are here.

    \b
    Example:
      featx weights list
    """
    from featx.report import table
    from featx.weights.catalogue import metrics_text
    from featx.weights.manifest import list_checkpoints, path_of

    found = [(c, path_of(c.name)) for c in list_checkpoints()]
    if as_json:
        rows = [
            {"name": c.name, "model": c.architecture, "here": path.exists(), "path": str(path), "url": c.url, "sha256": c.sha256,
             "licence": c.licence, "source": c.source, "metrics": dict(c.metrics)} for c, path in found
        ]  # fmt: skip
        echo(json_text(rows))
        return
    lines = []
    for c, path in found:
        here = "here" if path.exists() else "to fetch" if c.url is not None else "missing"
        lines.append((c.name, c.architecture, here, c.licence, metrics_text(_figures(c.metrics))))
    echo(table(lines, headers=("checkpoint", "model", "file", "licence", "metrics")))


def _figures(metrics: Mapping[str, object]) -> dict[str, object]:
    """Return the accuracies and what they are of: the rest is for `describe`."""
    return {name: value for name, value in metrics.items() if name == "on" or "top" in name}


@weights.command("fetch")
@click.argument("name")
@json_option
def weights_fetch(name: str, as_json: bool) -> None:
    """Download a checkpoint to the cache, continuing what is there, and check its sha256.

    \b
    Example:
      featx weights fetch r3d_18-kinetics400
    """
    from featx.weights.manifest import fetch

    with bar("B", scale=True) as progress:
        path = fetch(name, progress=progress)
    echo(
        json_text({"name": name, "path": str(path)}, indent=None) if as_json else f"{name}: {path}"
    )


@weights.command("verify")
@click.argument("name")
@json_option
def weights_verify(name: str, as_json: bool) -> None:
    """Check a checkpoint's file against its registered sha256.

    \b
    Example:
      featx weights verify r3d_18-kinetics400
    """
    from featx.weights.manifest import path_of, verify

    digest, path = verify(name), str(path_of(name))
    result = {"name": name, "path": path, "sha256": digest}
    echo(
        json_text(result, indent=None)
        if as_json
        else f"{name}: {path} is what it should be, sha256 {digest}"
    )


@weights.command("describe")
@click.argument("path", metavar="FILE")
@json_option
def weights_describe(path: str, as_json: bool) -> None:
    """Say what a file that featx wrote, or a registered checkpoint, is: model, training, what it reaches, licence.

    --json gives it as the row of a manifest, for a file that is to ship in weights/.

    \b
    Example:
      featx weights describe runs/res3d/best.safetensors
    """
    from featx.weights.catalogue import checkpoint_text
    from featx.weights.description import describe
    from featx.weights.manifest import row_text

    found = describe(path)
    echo(Text(row_text(found)) if as_json else checkpoint_text(found))


@weights.command("pack")
@click.argument("path", metavar="FILE")
@click.argument("out")
@click.argument("videos", nargs=-1, required=True)
@click.option("--to", type=click.Choice(SMALLER), default="int8", show_default=True,
              help="A quarter of the size, kernels in 127 steps a channel; or half of it.")  # fmt: skip
@click.option("--least", type=float, default=0.999, show_default=True,
              help="Smallest cosine of any clip's features to the original network's.")  # fmt: skip
@click.option(
    "--name", help="What it is called in feature files; the original's name and the storage."
)
@click.option("--licence", help="The licence that it is given; the original's.")
@json_option
def weights_pack(path: str, out: str, videos: tuple[str, ...], to: str, least: float, name: str | None,
                 licence: str | None, as_json: bool) -> None:  # fmt: skip
    """Make a checkpoint of featx's own smaller, and measure on VIDEOS what that does to its features.

    The features of every clip, in the model's own layers, are compared with those of FILE, in float32 on the CPU. Where one has
    a cosine below --least, nothing is written. Loading gives float32 again: OUT is used as FILE is. It says of itself what
    FILE does, what was measured, and what it was made of.

    Exit status: 0 written, 1 too far off or a video that cannot be read, 2 wrong usage, 130 interrupted.

    \b
    Example:
      featx weights pack runs/res3d/best.safetensors res3d.safetensors videos/
      featx weights pack best.safetensors half.safetensors videos/ --to float16 --name res3d-half
    """
    from dataclasses import asdict

    from featx.evaluation.pack import pack
    from featx.report import table

    with bar("video") as progress:
        made = pack(
            path, out, videos, to=to, least=least, name=name, licence=licence, on_progress=progress
        )
    if as_json:
        echo(json_text(asdict(made)))
        return
    rows = [(layer, f"{each.least:.6f}", f"{each.mean:.6f}") for layer, each in made.layers.items()]
    echo(table(rows, headers=("layer", "least cosine", "mean cosine")))
    echo(f"{out}: {to}, {made.size / 1e6:.1f} MB of {made.before / 1e6:.1f}; cosines to {path} over {made.clips} clips of "
               f"{made.videos} videos; sha256 {made.sha256}")  # fmt: skip


@weights.command("widen")
@click.argument("path", metavar="FILE")
@click.argument("out")
@click.option(
    "--model",
    required=True,
    help="The wider network; it differs from FILE's in its layers' widths alone.",
)
@click.option(
    "--seed",
    type=int,
    default=0,
    show_default=True,
    help="Of the shares by which a channel's copies differ.",
)
@json_option
def weights_widen(path: str, out: str, model: str, seed: int, as_json: bool) -> None:
    """Make a checkpoint to train from: a wider network that computes what the narrow one of FILE does (Net2Net).

    \b
    Example:
      featx weights widen runs/half/last.safetensors res3d.safetensors --model res3d
    """
    from dataclasses import asdict

    from featx.weights.widen import widen

    made = widen(path, out, architecture=model, seed=seed)
    if as_json:
        echo(json_text(asdict(made), indent=None))
        return
    echo(
        f"{out}: {model} that computes what {made.narrow} in {path} does, each channel {made.copies} times; train it further"
    )


@weights.command("from-2d")
@click.argument("model")
@click.argument("state")
@click.argument("out")
@click.option(
    "--num-classes", type=int, help="Rows of the classifier; the model's own number by default."
)
@click.option(
    "--seed", type=int, default=0, show_default=True, help="Of the layers that are not taken over."
)
@json_option
def weights_from_2d(
    model: str, state: str, out: str, num_classes: int | None, seed: int, as_json: bool
) -> None:
    """Make a checkpoint to train from: spatial layers of an ImageNet network, the rest untrained.

    MODEL is a semi-CNN, STATE a file of its 2D counterpart's weights under torchvision's names, OUT a .safetensors file.

    \b
    Example:
      featx weights from-2d semi_resnet18 resnet18-f37072fd.pth semi_resnet18.safetensors --num-classes 101
    """
    from featx.weights.from_2d import from_2d

    made = from_2d(model, state, out, num_classes=num_classes, seed=seed)
    if as_json:
        echo(json_text({"path": out, "model": model, "network": made.network, "parameters": made.parameters,
                               "layers": made.layers, "sha256": made.sha256, "source": made.source}, indent=None))  # fmt: skip
        return
    echo(
        f"{out}: {model} with {made.parameters:,} parameters of {made.network} in {', '.join(made.layers)}"
    )
    echo(f"{made.source}: train it before its features mean anything")
