"""The command that takes features to other programs' layouts."""

from __future__ import annotations

import click

from featx.cli.messages import echo, with_flags
from featx.cli.options import INTERRUPTED, json_option
from featx.system.terminal import bar


@click.command()
@click.argument("features")
@click.argument("out")
@click.option("--to", required=True, type=click.Choice(["activitynet", "actionformer", "opentad", "gtad", "mmaction"]),
              help="Whose layout.")  # fmt: skip
@click.option("--layer", help="The layer to write; the file's only one, or pool5.")
@click.option("--annotations", multiple=True, metavar="PATH",
              help="A folder of THUMOS'14's annotations, or a JSON file as ActivityNet's, several with several of these: what the"
              " detector reads is written from them, in agreement with the features.")  # fmt: skip
@click.option(
    "--overwrite", is_flag=True, help="Replace an earlier export, or files of these names, in OUT."
)
@json_option
def export(
    features: str,
    out: str,
    to: str,
    layer: str | None,
    annotations: tuple[str, ...],
    overwrite: bool,
    as_json: bool,
) -> int:
    """Write clip features to the folder OUT as a temporal detector reads them.

    OUT gets features/, with annotations where some are given, a README.md with the configuration to paste, and
    featx_export.json with the same for programs. A feature that lies more than half a clip from where the detector would take
    it to be is refused, a smaller difference is told. Killed or interrupted, the same command continues.

    Exit status: 0 all done, 1 an output cannot be written, 2 wrong usage, 130 interrupted.

    \b
    Example:
      featx export out.h5 --to actionformer for_actionformer/
      featx export thumos.h5 --to opentad --annotations annotation_val --annotations annotation_test for_opentad/
    """
    from featx.export import as_text, to_json
    from featx.export import export as run

    try:
        with bar("video") as progress:
            report = run(
                features,
                out,
                to=to,
                layer=layer,
                annotations=annotations,
                overwrite=overwrite,
                on_progress=progress,
            )
    except KeyboardInterrupt:
        echo("interrupted: run the same command again to continue", err=True)
        return INTERRUPTED
    for note in report.notes:
        echo(f"note: {with_flags(note)}", err=True)
    echo(to_json(report) if as_json else as_text(report))
    return 0
