"""The group of all commands, and how their errors are told.

Commands of tasks and of third parties come by the entry point group `featx.commands`.
"""

from __future__ import annotations

import os
import sys
from importlib.metadata import EntryPoint, entry_points

import click

from featx import __version__
from featx.cli import bench, evaluate, export, features, networks, show, study, synth, train
from featx.cli.messages import echo, errors_in_flags, with_flags
from featx.errors import FeatxError, UsageError
from featx.system.text import visible

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
            return _broken(
                cmd_name,
                f"the plug-in {point.value} does not load: {type(error).__name__}: {error}",
            )
        if not isinstance(loaded, click.Command):
            return _broken(
                cmd_name,
                f"the plug-in {point.value} is {type(loaded).__name__}, not a click command",
            )
        return errors_in_flags(loaded)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if (
            args
            and args[0] not in (known := self.list_commands(ctx))
            and not args[0].startswith("-")
        ):
            from featx.errors import nearest

            raise UsageError(f"unknown command {args[0]!r}{nearest(args[0], known)}")
        return super().resolve_command(ctx, args)


def _broken(name: str, why: str) -> click.Command:
    def call() -> None:
        raise FeatxError(why)

    return click.Command(
        name,
        callback=call,
        help=f"Not available: {visible(why)}",
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


def run() -> int:
    """Run the command line and return its exit status; KeyboardInterrupt goes through."""
    debug = "--debug" in sys.argv[1:]
    try:
        status = cli.main(standalone_mode=False)
        if sys.stdout is not None:
            sys.stdout.flush()  # here a failure can be told
    except click.exceptions.Abort:
        raise KeyboardInterrupt from None
    except click.ClickException as error:
        # An argument may be a file's name, by the shell.
        error.message = visible(error.message)  # type: ignore[misc]
        error.show()
        return error.exit_code
    except FeatxError as error:
        if debug:
            raise
        return _told(f"Error: {with_flags(str(error))}", 2 if isinstance(error, UsageError) else 1)
    except BrokenPipeError:  # the reader of our output, `head` say, has left
        _mute_stdout()
        return 141
    except OSError as error:
        if debug:
            raise
        _mute_stdout()
        where = f"{error.filename}: " if error.filename else ""
        return _told(f"Error: {where}{error.strerror or error}", 1)
    return status if isinstance(status, int) else 0


def _told(message: str, status: int) -> int:
    echo(message, err=True)
    return status


def _mute_stdout() -> None:
    """Let go what stdout could not take: the interpreter would try again at its end, and print a traceback."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)


for _command in (
    features.extract,
    features.info,
    features.verify,
    features.merge,
    bench.bench,
    evaluate.evaluate,
    export.export,
    synth.synth,
    train.train,
    networks.models,
    networks.weights,
    show.show,
    study.study,
):
    cli.add_command(errors_in_flags(_command))
