"""The command that finds actions in untrimmed video, and those under it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from featx.cli.messages import echo, with_flags
from featx.cli.options import INTERRUPTED, RATE, json_option, machine_options, timeout_option
from featx.errors import UsageError
from featx.extraction.progress import Progress
from featx.system.terminal import bar
from featx.system.text import json_text
from featx.tasks.cli._options import thresholds_of
from featx.tasks.cli.detect_eval import evaluate
from featx.tasks.cli.detect_show import show
from featx.tasks.cli.detect_train import train

if TYPE_CHECKING:
    from featx.extraction.settings import Machine


class _Detect(click.Group):
    """A group that is a command itself where no name of another one comes first."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and args[0] in self.commands:
            ctx.invoked_subcommand, ctx.args = args[0], args[1:]
            return ctx.args
        # As a plain command's, whose options may come after its arguments.
        ctx.allow_interspersed_args = True
        return click.Command.parse_args(self, ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        if ctx.invoked_subcommand is None:
            return click.Command.invoke(self, ctx)
        command = self.commands[ctx.invoked_subcommand]
        with command.make_context(ctx.invoked_subcommand, ctx.args, parent=ctx) as under:
            return command.invoke(under)

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        # A command's path shows the arguments of those above it, which one under this group does not take.
        return super().get_params(ctx) if ctx.command is self else []

    def format_usage(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        formatter.write_usage(ctx.command_path, "[OPTIONS] [VIDEOS]...")
        formatter.write_usage(
            ctx.command_path,
            f"{'|'.join(sorted(self.commands))} [OPTIONS] ARGS...",
            prefix="       ",
        )


@click.group(cls=_Detect, no_args_is_help=False)
@click.argument("videos", nargs=-1)
@click.option(
    "--thumos14",
    is_flag=True,
    help="The dataset's own videos, evaluated by its protocol; thumos14 in $FEATX_DATA.",
)
@click.option(
    "--root",
    metavar="DIR",
    help="Where THUMOS'14 lies; or the folder that ids of VIDEOS are relative to.",
)
@click.option(
    "--subset",
    type=click.Choice(["val", "test"]),
    help="With --thumos14: which of its sides; test.",
)
@click.option(
    "--partial",
    is_flag=True,
    help="Go on with the videos that are there, and say how many are not.",
)
@click.option(
    "--networks",
    metavar="DIR",
    help="A folder of featx detect train; networks in the dataset's folder.",
)
@click.option(
    "--annotations", metavar="DIR|JSON", help="Ground truth of VIDEOS, to evaluate what is found."
)
@click.option("--out", multiple=True, metavar="FILE", default=["detections.json"],
              help="Where detections go: .json as ActivityNet's, .txt as the official, .csv; detections.json.")  # fmt: skip
@click.option("--windows", "windows_file", metavar="FILE",
              help="Where the networks' word on every window is kept, and gone on from; by the dataset, or --out.")  # fmt: skip
@click.option("--threshold", type=float, default=0.7, show_default=True,
              help="Least probability of an action for a window to be a proposal.")  # fmt: skip
@click.option(
    "--fps",
    type=RATE,
    help="Rate at which windows are taken, or own for each video's; the networks', 25.",
)
@click.option("--prior", default="counted", show_default=True, metavar="FILE",
              help="Window lengths' weights by class: counted in training, a file (.mat, .npy, .csv), or none.")  # fmt: skip
@click.option("--overlap", type=float, default=0.4, show_default=True,
              help="tIoU above which the surer of two detections suppresses the other, in what is written.")  # fmt: skip
@click.option("--tiou", default="0.1,0.2,0.3,0.4,0.5,0.6,0.7", show_default=True,
              help="Thresholds of the evaluation, or 0.3:0.1:0.7; suppression is at 0.1 less each time.")  # fmt: skip
@click.option("--bootstrap", type=click.IntRange(0), default=1000, show_default=True,
              help="Draws of videos for the 95 % interval of the mean; 0 for none.")  # fmt: skip
@click.option(
    "--plot", metavar="PICTURE", help="Draw precision-recall curves to a .png, .svg or .pdf."
)
@click.option(
    "--html",
    metavar="PAGE",
    help="Write a page of the run: curves, worst false positives, time lines.",
)
@machine_options(timeout_option)
@json_option
def detect(videos: tuple[str, ...], thumos14: bool, root: str | None, subset: str | None, partial: bool, networks: str | None,
           annotations: str | None, out: tuple[str, ...], windows_file: str | None, threshold: float, fps: Any, prior: str,
           overlap: float, tiou: str, bootstrap: int, plot: str | None, html: str | None, as_json: bool,
           machine: Machine) -> int:  # fmt: skip
    """Find actions in untrimmed video: Segment-CNN's proposal and localization networks over windows of several lengths.

    VIDEOS are files, folders, glob patterns or lists, as for featx extract. Each is decoded once for all lengths. Windows that
    the proposal network takes for an action get a class and a probability by the localization network, are weighed by how
    often the class's actions are so long, and suppress others of their class that they overlap (Res3D paper, section 5.3).
    Killed or interrupted, the same command continues.

    Exit status: 0 all done, 1 some videos failed, 2 wrong usage, 130 interrupted.

    \b
    Example:
      featx detect train data/thumos14/networks
      featx detect --thumos14
      featx detect --networks data/thumos14/networks videos/ --out found.json --out found.csv
      featx detect eval found.json --annotations data/thumos14/annotation_test
    """
    _check_given(
        videos, thumos14, about_thumos14={"--subset": subset, "--partial": partial or None}
    )
    if thumos14 and annotations is not None:
        raise UsageError("--thumos14 has annotations of its own: leave --annotations out")
    if not thumos14 and annotations is None and (plot or html):
        raise UsageError(
            "--plot and --html show how good detections are: give --annotations, or --thumos14"
        )
    from featx.datasets.thumos14 import read_annotations
    from featx.tasks.localization import check_pictures, draw_pictures, run_json, run_text
    from featx.tasks.localization import detect as run

    thresholds = thresholds_of(tiou)
    check_pictures(plot, html)
    progress = Progress()
    try:
        found = run(
            videos,
            networks=networks,
            subset=(subset or "test") if thumos14 else None,  # type: ignore[arg-type]
            root=root,
            partial=partial,
            annotations=read_annotations(annotations) if annotations is not None else None,
            out=out,
            windows_file=windows_file,
            threshold=threshold,
            fps=fps,
            prior=prior,
            overlap=overlap,
            machine=machine,
            tious=thresholds,
            bootstrap=bootstrap,
            keep=[path for path in (plot, html) if path is not None],
            hooks=progress.hooks,
        )
    except KeyboardInterrupt:
        progress.close()
        echo("interrupted: run the same command again to continue", err=True)
        return INTERRUPTED
    finally:
        progress.close()
    for path, reason in found.found.failures:
        echo(f"failed: {path}: {with_flags(reason)}", err=True)
    echo(json_text(run_json(found)) if as_json else run_text(found))
    with bar("video") as shown:
        for line in draw_pictures(found, plot=plot, html=html, on_progress=shown):
            echo(line, err=True)
    return 1 if found.found.failures else 0


def _check_given(
    videos: tuple[str, ...], thumos14: bool, *, about_thumos14: dict[str, object]
) -> None:
    """Raise UsageError unless just one of VIDEOS and --thumos14 is given, which in Python `subset` stands for."""
    given = [name for name, value in about_thumos14.items() if value is not None]
    if given and not thumos14:
        raise UsageError(
            f"{given[0]} is about THUMOS'14's own videos: give --thumos14 too, or leave it out"
        )
    if thumos14 and videos:
        raise UsageError("give videos or --thumos14, not both")
    if not thumos14 and not videos:
        raise UsageError("give videos, or --thumos14 for the dataset's own")


for _command in (evaluate, show, train):
    detect.add_command(_command)
