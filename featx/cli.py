"""The command line: parse, call one public function, print.

Nothing heavy is imported before a command runs, so that help answers at once. Commands of tasks and
of third parties come by the entry point group `featx.commands`.
"""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any

import click

from featx import __version__
from featx.errors import FeatxError, UsageError
from featx.terminal import Progress, bar

if TYPE_CHECKING:
    from featx.extraction import Report

INTERRUPTED = 130
GROUP = "featx.commands"


def _plugins() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=GROUP)}


class _Commands(click.Group):
    """The built-in commands, and those that entry points name; a plug-in that does not load says so when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*super().list_commands(ctx), *_plugins()})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        own = super().get_command(ctx, cmd_name)
        if own is not None or (point := _plugins().get(cmd_name)) is None:
            return own
        try:
            loaded = point.load()
        except Exception as error:  # noqa: BLE001 - whatever a third party's module does
            return _broken(cmd_name, f"the plug-in {point.value} does not load: {type(error).__name__}: {error}")
        if not isinstance(loaded, click.Command):
            return _broken(cmd_name, f"the plug-in {point.value} is {type(loaded).__name__}, not a click command")
        return loaded

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in (known := self.list_commands(ctx)) and not args[0].startswith("-"):
            from featx.errors import nearest

            raise UsageError(f"unknown command {args[0]!r}{nearest(args[0], known)}")
        return super().resolve_command(ctx, args)


def _broken(name: str, why: str) -> click.Command:
    def call() -> None:
        raise FeatxError(why)

    return click.Command(
        name,
        callback=call,
        help=f"Not available: {why}",
        context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
    )


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="featx")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def cli(debug: bool) -> None:
    """Clip features from video with 3D-CNNs.

    \b
    Example:
      featx extract --model res3d videos/ features.h5
      featx info features.h5
    """


def main() -> None:
    """Run the command line; exit status 0 all done, 1 something failed, 2 wrong usage, 130 interrupted."""
    debug = "--debug" in sys.argv[1:]
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    try:
        status = cli.main(standalone_mode=False)
    except click.exceptions.Abort:
        _fail("interrupted", INTERRUPTED)
    except KeyboardInterrupt:
        _fail("interrupted", INTERRUPTED)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except FeatxError as error:
        if debug:
            raise
        _fail(f"Error: {error}", 2 if isinstance(error, UsageError) else 1)
    except BrokenPipeError:
        sys.stderr.close()  # the reader of our output, `head` say, has left
        sys.exit(141)
    except OSError as error:
        if debug:
            raise
        where = f"{error.filename}: " if error.filename else ""
        _fail(f"Error: {where}{error.strerror or error}", 1)
    sys.exit(status if isinstance(status, int) else 0)


def _interrupt(*_: object) -> None:
    """Stop, once: what is computed is being made safe then, which takes a second, and a second Ctrl-C must not cut that off."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def _fail(message: str, status: int) -> None:
    click.echo(message, err=True)
    sys.exit(status)


def _options(*options: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def apply(function: Any) -> Any:
        for option in reversed(options):
            function = option(function)
        return function

    return apply


# Choices are spelled out here: importing the modules that own them would make --help slow. A test holds them together.
_json_option = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
_input_options = _options(
    click.option("--input", type=click.Choice(["rgb", "flow", "rgbf"]),
                 help="RGB frames, optical flow, or RGB where something moves; the checkpoint's."),
    click.option("--flow", type=click.Choice(["auto", "tvl1", "dis", "farneback"]),
                 help="Flow's method; the checkpoint's, or auto: TV-L1 where OpenCV has it, else DIS, 100 times as fast."),
)  # fmt: skip
_machine_options = _options(
    click.option("--precision", type=click.Choice(["auto", "bf16", "float32"]), default="auto", show_default=True,
                 help="auto is bf16 where the processor has it; float32 is exact."),
    click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N."),
    click.option("--batch-size", type=int, help="Clips at once; 8 on CPU, 32 on a GPU."),
    click.option("--decoder", type=click.Choice(["auto", "pyav", "decord"]), default="auto", show_default=True,
                 help="auto is pyav; decord hands files over that it does not decode exactly."),
    click.option("--workers", type=int, help="Decoding processes; one a core."),
)  # fmt: skip


@cli.command()
@click.argument("inputs", nargs=-1, required=True)
@click.argument("out")
@click.option("--model", required=True, help="A model, such as res3d, c3d or r3d_18.")
@click.option("--weights", help="A registered checkpoint, a .safetensors or .pth file, or random; the model's own if it is here.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of --weights random.")
@click.option("--layers", help="Comma-separated: the paper's names (res5b,pool5,prob) or module paths; the model's own.")
@click.option("--frames", type=int, help="Frames in a clip; the checkpoint's.")
@click.option("--step", type=int, help="Source frames from one frame of a clip to the next; the checkpoint's.")
@click.option("--stride", type=int, help="Source frames from one clip to the next; less than frames x step overlaps.")
@click.option("--fps", type=float, help="Resample to this rate by presentation time first; the video's own.")
@click.option("--tail", type=click.Choice(["drop", "pad", "align"]),
              help="Frames after the last whole clip: drop them, pad a clip, or align one more to the end; drop.")  # fmt: skip
@click.option("--crops", type=click.Choice(["center", "ten"]), help="The centre, or the mean over ten crops; center.")
@click.option("--flip/--no-flip", default=None, help="Average with the mirror image.")
@_input_options
@click.option("--flow-cache", metavar="DIR", help="Keep flow here, once computed, for other models; 4 bytes a pixel and frame.")
@_machine_options
@click.option("--timeout", type=float, default=120.0, show_default=True, help="Seconds until a silent decoder is given up.")
@click.option("--root", help="Folder that video ids are relative to; the folder given.")
@_json_option
def extract(inputs: tuple[str, ...], out: str, layers: str | None, root: str | None, as_json: bool, **settings: Any) -> int:
    """Extract clip features of videos to one HDF5 file.

    INPUTS are files, folders (searched recursively), glob patterns, or a text file, or - for
    standard input, with one path a line. Killed or interrupted, the same command continues where
    it was. A video that cannot be read is listed with its reason and costs the others nothing.

    Exit status: 0 all done, 1 some videos failed or a file is damaged, 2 wrong usage, 130 interrupted.

    \b
    Example:
      featx extract --model res3d videos/ out.h5
      featx extract --model c3d --layers fc6,pool5 --stride 8 a.mp4 b.avi out.h5
      featx extract --model res3d --weights my.safetensors --input rgbf --flow dis videos/ out.h5
    """
    from featx.extraction import Settings, to_json
    from featx.extraction import extract as run

    names = [name.strip() for name in layers.split(",") if name.strip()] if layers is not None else None
    if names == []:
        raise UsageError(f"layers is {layers!r}: give names separated by commas, or leave it out")
    progress = Progress()
    try:
        report = run(
            inputs,
            out,
            Settings(layers=names, **settings),
            root=root,
            on_start=progress.start,
            on_progress=progress,
            on_publish=progress.publish,
        )
    except KeyboardInterrupt:
        progress.close()
        safe = f"{progress.done()} of {progress.total} videos are done; " if progress.total else ""
        click.echo(f"interrupted: {safe}run the same command again to continue", err=True)
        return INTERRUPTED
    finally:
        progress.close()
    click.echo(to_json(report)) if as_json else _print_report(report)
    return 1 if report.failures else 0


def _print_report(report: Report) -> None:
    for note in report.notes:
        click.echo(f"note: {note}", err=True)
    for path, reason in report.failures:
        click.echo(f"failed: {path}: {reason}", err=True)
    if report.ignored:
        kinds = ", ".join(f"{n} {suffix}" for suffix, n in sorted(report.ignored.items()))
        click.echo(f"ignored in folders, not a video's suffix: {kinds}", err=True)
    if report.new or report.failures:
        rate = report.clips / report.seconds if report.seconds else 0.0
        before = f", {report.done - report.new} were there before" if report.done > report.new else ""
        failed = f", {len(report.failures)} failed" if report.failures else ""
        click.echo(f"{report.out}: {report.new} videos; {report.clips} clips computed in {report.seconds:.1f} s "
                   f"({rate:.1f} clips/s, {report.binding} binds){before}{failed}")  # fmt: skip
    else:
        click.echo(f"{report.out}: nothing to do, all {report.total} videos are there")


@cli.command()
@click.argument("path")
@click.option("--plot", metavar="PICTURE", help="Draw a video's features over time to a .png, .svg or .pdf.")
@click.option("--video", help="The id of the video to draw; the one with most clips.")
@click.option("--layer", help="The layer to draw; the file's first.")
@_json_option
def info(path: str, plot: str | None, video: str | None, layer: str | None, as_json: bool) -> None:
    """Say what is in a feature file.

    \b
    Example:
      featx info out.h5
      featx info out.h5 --plot features.png --video Biking/v_Biking_g01_c01
    """
    if plot is None and (video or layer):
        raise UsageError("--video and --layer choose what --plot draws: give --plot PICTURE too")
    from featx.info import as_text, summarise
    from featx.store import FeatureStore

    with FeatureStore(path) as store:
        summary = summarise(store)
        click.echo(json.dumps(summary, indent=1) if as_json else as_text(summary))
        if plot is not None:
            from featx.report import plot_features

            drawn = store[video] if video is not None else max(store, key=len, default=None)
            if drawn is None:
                raise UsageError(f"{path} holds no video to draw")
            chosen = layer or store.layers[0]
            plot_features(plot, drawn.clip_times, drawn[chosen], title=f"{drawn.id}, {chosen}")
            click.echo(f"{plot}: {chosen} of {drawn.id}", err=as_json)


@cli.command()
@click.argument("path")
@click.option("--clips", type=click.IntRange(0), default=32, show_default=True, help="How many random clips to make again.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of the choice of clips.")
@click.option("--weights", help="The checkpoint's file, where it is not at its recorded place.")
@_json_option
def verify(path: str, clips: int, seed: int, weights: str | None, as_json: bool) -> int:
    """Check a feature file: its structure, and a random sample of clips made again from the videos.

    \b
    Example:
      featx verify out.h5
    """
    from featx.verification import verify as run

    found = run(path, clips=clips, seed=seed, weights=weights)
    if as_json:
        click.echo(json.dumps({**vars(found), "ok": found.ok}, indent=1))
    else:
        for note in found.notes:
            click.echo(f"note: {note}")
        for video_id, reason in found.unread:
            click.echo(f"not made again: {video_id}: {reason}")
        if found.clips:
            where = f" ({found.worst})" if found.worst else ""
            click.echo(f"{found.clips} clips made again: largest deviation {found.deviation:.3g}, {found.relative:.2g} of the "
                       f"largest value, smallest cosine {found.cosine:.6f}{where}")  # fmt: skip
        for problem in found.problems:
            click.echo(f"problem: {problem}")
        click.echo(f"{path}: {found.videos} videos, {'no problems' if found.ok else f'{len(found.problems)} problems'}")
    return 0 if found.ok else 1


@cli.command()
@click.argument("inputs", nargs=-1, required=True)
@click.argument("out")
@_json_option
def merge(inputs: tuple[str, ...], out: str, as_json: bool) -> None:
    """Merge feature files made with the same settings into one.

    \b
    Example:
      featx merge part1.h5 part2.h5 all.h5
    """
    from featx.store import merge as run

    with bar("video") as progress:
        videos = run(inputs, out, on_progress=progress)
    click.echo(json.dumps({"out": out, "videos": videos}) if as_json else f"{out}: {videos} videos")


@cli.command()
@click.argument("inputs", nargs=-1)
@click.option("--model", "models", multiple=True, default=["res3d"], show_default=True, help="A model; give it again to compare.")
@_input_options
@_machine_options
@click.option("--layers", help="Comma-separated layers to extract; the model's own.")
@click.option("--seconds", type=float, default=10.0, show_default=True, help="How long each measurement lasts.")
@click.option("--rounds", type=int, default=3, show_default=True, help="How often all is measured; medians are printed.")
@_json_option
def bench(inputs: tuple[str, ...], models: tuple[str, ...], seconds: float, rounds: int, layers: str | None, as_json: bool,
          **settings: Any) -> None:  # fmt: skip
    """Measure decoding alone, the backbone alone and the whole extraction, and say which binds.

    INPUTS as for extract; without any, videos of 320x240 pixels are generated. Weights are random:
    their values do not change the speed.

    \b
    Example:
      featx bench --model res3d --model c3d videos/
    """
    from featx.bench import bench as run
    from featx.bench import to_json
    from featx.extraction import Settings
    from featx.report import table

    names = layers.split(",") if layers else None
    measured = run(
        list(models),
        inputs,
        settings=Settings(model=models[0], weights="random", layers=names, **settings),
        seconds=seconds,
        rounds=rounds,
        progress=lambda text: click.echo(text, err=True),
    )
    if as_json:
        click.echo(json.dumps(to_json(measured), indent=1))
        return
    rows = [
        ("", *(m.model for m in measured)),
        ("decoding alone, clips/s", *(f"{m.decode:.1f}" for m in measured)),
        ("backbone alone, clips/s", *(f"{m.backbone:.1f}" for m in measured)),
        ("ceiling, clips/s", *(f"{m.ceiling:.1f}" for m in measured)),
        ("end to end, clips/s", *(f"{m.end_to_end:.1f}" for m in measured)),
        (
            "end to end / ceiling",
            *(f"{m.fraction:.1%} ({m.fraction_range[0]:.1%} to {m.fraction_range[1]:.1%})" for m in measured),
        ),
        ("binds", *(m.binding for m in measured)),
        ("video seconds a second", *(f"{m.video_rate:.1f}" for m in measured)),
        ("matrix multiplication, 1e12 multiply-adds/s", *(f"{m.matmul:.3f}" for m in measured)),
        ("backbone / matrix multiplication", *(f"{m.of_matmul:.1%}" for m in measured)),
        ("parameters, millions", *(f"{m.params:.1f}" for m in measured)),
        ("multiply-adds a clip, 1e9", *(f"{m.multiply_adds:.1f}" for m in measured)),
        ("input", *(m.input for m in measured)),
        ("precision, device, batch", *(f"{m.precision}, {m.device}, {m.batch_size}" for m in measured)),
    ]
    click.echo(table(rows[1:], headers=rows[0]))


@cli.command()
@click.argument("directory")
@click.option("--per-class", type=int, default=4, show_default=True, help="Videos of each class.")
@click.option("--seconds", type=float, default=4.0, show_default=True, help="Length of each.")
@click.option("--fps", type=float, default=25.0, show_default=True, help="Frames a second.")
@click.option("--size", default="320x240", show_default=True, help="Width x height in pixels, both even.")
@click.option("--classes", help="Comma-separated motions; all.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Other seeds give other videos.")
@_json_option
def synth(directory: str, size: str, classes: str | None, as_json: bool, **options: Any) -> None:
    """Write generated videos: moving shapes and textures, a folder and a motion a class.

    \b
    Example:
      featx synth videos/
    """
    from featx.synth import write_videos

    try:
        width, height = (int(side) for side in size.lower().split("x"))
    except ValueError:
        raise UsageError(f"size is {size!r}: give width x height, such as 320x240") from None
    names = [c.strip() for c in classes.split(",")] if classes else None
    with bar("video") as progress:
        paths = write_videos(directory, size=(height, width), classes=names, progress=progress, **options)
    n_classes = len({p.parent for p in paths})
    result = {"directory": directory, "videos": [str(p) for p in paths], "classes": n_classes}
    click.echo(json.dumps(result, indent=1) if as_json else f"{directory}: {len(paths)} videos of {n_classes} classes")


@cli.command()
@click.argument("name", required=False)
@click.option("--family", help="Only this family's models: asymmetric, c3d, hara, semi-cnn, torchvision or tran2017.")
@click.option("--check", is_flag=True, help="Compare every size and cost that the papers print with ours.")
@_json_option
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
    from featx import catalogue

    if (name is not None) + (family is not None) + check > 1:
        raise UsageError("give one of a model's name, --family and --check")
    if check:
        from featx.models.printed import compare

        found = compare()
        shown = [{**vars(c), "printed": vars(c.printed), "difference": c.difference} for c in found]
        click.echo(json.dumps(shown, indent=1) if as_json else catalogue.check_text(found))
        return 0 if all(c.agrees or c.reason for c in found) else 1
    if name is not None:
        model = catalogue.describe(name)
        click.echo(json.dumps(catalogue.to_json(model), indent=1) if as_json else catalogue.layers_text(model))
        return 0
    all_models = catalogue.describe_all(family)
    click.echo(json.dumps([catalogue.to_json(m) for m in all_models], indent=1) if as_json else catalogue.list_text(all_models))
    return 0


@cli.group()
def weights() -> None:
    """List, fetch and verify checkpoints; make one of an image network's.

    \b
    Example:
      featx weights list
    """


@weights.command("list")
@_json_option
def weights_list(as_json: bool) -> None:
    """List the registered checkpoints: what they are, where they are from, and whether they are here.

    \b
    Example:
      featx weights list
    """
    from featx.report import table
    from featx.weights import list_checkpoints, path_of

    found = [(c, path_of(c.name)) for c in list_checkpoints()]
    if as_json:
        rows = [
            {"name": c.name, "model": c.architecture, "here": path.exists(), "path": str(path), "url": c.url, "sha256": c.sha256,
             "licence": c.licence, "source": c.source, "metrics": dict(c.metrics)} for c, path in found
        ]  # fmt: skip
        click.echo(json.dumps(rows, indent=1))
        return
    lines = []
    for c, path in found:
        metrics = "; ".join(f"{name}: {value}" for name, value in c.metrics.items() if name != "protocol")
        lines.append((c.name, c.architecture, "here" if path.exists() else "to fetch", c.licence, metrics))
    click.echo(table(lines, headers=("checkpoint", "model", "file", "licence", "metrics")))


@weights.command("fetch")
@click.argument("name")
@_json_option
def weights_fetch(name: str, as_json: bool) -> None:
    """Download a checkpoint to the cache, continuing what is there, and check its sha256.

    \b
    Example:
      featx weights fetch r3d_18-kinetics400
    """
    from featx.weights import fetch

    with bar("B", scale=True) as progress:
        path = fetch(name, progress=progress)
    click.echo(json.dumps({"name": name, "path": str(path)}) if as_json else f"{name}: {path}")


@weights.command("verify")
@click.argument("name")
@_json_option
def weights_verify(name: str, as_json: bool) -> None:
    """Check a checkpoint's file against its registered sha256.

    \b
    Example:
      featx weights verify r3d_18-kinetics400
    """
    from featx.weights import path_of, verify

    digest, path = verify(name), str(path_of(name))
    result = {"name": name, "path": path, "sha256": digest}
    click.echo(json.dumps(result) if as_json else f"{name}: {path} is what it should be, sha256 {digest}")


@weights.command("from-2d")
@click.argument("model")
@click.argument("state")
@click.argument("out")
@click.option("--num-classes", type=int, help="Rows of the classifier; the model's own number by default.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the layers that are not taken over.")
@_json_option
def weights_from_2d(model: str, state: str, out: str, num_classes: int | None, seed: int, as_json: bool) -> None:
    """Make a checkpoint to train from: spatial layers of an ImageNet network, the rest untrained.

    MODEL is a semi-CNN, STATE a file of its 2D counterpart's weights under torchvision's names, OUT a .safetensors file.

    \b
    Example:
      featx weights from-2d semi_resnet18 resnet18-f37072fd.pth semi_resnet18.safetensors --num-classes 101
    """
    from featx.weights import from_2d

    made = from_2d(model, state, out, num_classes=num_classes, seed=seed)
    if as_json:
        click.echo(json.dumps({"path": out, "model": model, "network": made.network, "parameters": made.parameters,
                               "layers": made.layers, "sha256": made.sha256, "source": made.source}))  # fmt: skip
        return
    click.echo(f"{out}: {model} with {made.parameters:,} parameters of {made.network} in {', '.join(made.layers)}")
    click.echo(f"{made.source}: train it before its features mean anything")
