"""The commands that make an index of clips, and search it."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING

import click

from featx.cli.messages import echo
from featx.cli.options import id_text, json_option, options
from featx.extraction.progress import Progress
from featx.system.terminal import bar

if TYPE_CHECKING:
    from featx.tasks.retrieval import Plan

_index_options = options(
    click.option(
        "--layer", help="The layer to compare; the file's narrowest one that is not prob."
    ),
    click.option(
        "--index", "index_folder", metavar="DIR", help="Where the index lies; FEATURES.index."
    ),
)


@click.command()
@click.argument("features")
@_index_options
@click.option("--exact/--cells", default=None,
              help="Compare with every clip, or only with those in faiss's nearest cells; by the index's size.")  # fmt: skip
@json_option
def index(
    features: str, layer: str | None, index_folder: str | None, exact: bool | None, as_json: bool
) -> None:
    """Make an index of a feature file's clips for featx search, or add the videos that are new.

    Rows are L2-normalised and written beside the feature file. Up to 2 GiB of them a query is compared with every one;
    of more, with those in the nearest of faiss's cells, as many as recall 0.98 takes, which is measured against an
    exhaustive search on the file's own clips. Killed at any time, the index that was there stays.

    \b
    Example:
      featx index out.h5
      featx index out.h5 --layer res5b --index /scratch/index
    """
    from featx.tasks.retrieval import index as run
    from featx.tasks.retrieval import index_text, to_json

    with _Shown() as shown:
        report = run(
            features,
            layer=layer,
            index=index_folder,
            exact=exact,
            on_start=shown.start,
            on_progress=shown,
        )
    echo(to_json(report) if as_json else index_text(report))


@click.command()
@click.argument("features")
@click.argument("query")
@click.option(
    "--at",
    metavar="TIME",
    help="The clip at this time: 12.5, 12.5s or 1:02.5; the mean of the whole video's clips.",
)
@click.option(
    "--id", "by_id", is_flag=True, help="QUERY is a video's id, even if there is such a file."
)
@click.option("-k", "k", type=int, default=10, show_default=True, help="How many to find.")
@click.option(
    "--videos", is_flag=True, help="Find videos, by the mean of their clips, instead of clips."
)
@click.option("--per-video", type=int, default=3, show_default=True,
              help="At most so many clips of a video, none that overlap; 0 for any.")  # fmt: skip
@click.option("--own", is_flag=True, help="Do not leave out the query's own video.")
@_index_options
@click.option("--weights", help="The checkpoint's file, where it is not at its recorded place.")
@click.option(
    "--project",
    metavar="FILE",
    help="The projection's file, where it is not at its recorded place.",
)
@click.option(
    "--html",
    metavar="PAGE",
    help="Write a page with pictures of what was found, one file, to look through.",
)
@json_option
def search(features: str, query: str, at: str | None, by_id: bool, k: int, videos: bool, per_video: int, own: bool,
           layer: str | None, index_folder: str | None, weights: str | None, project: str | None,
           html: str | None, as_json: bool) -> None:  # fmt: skip
    """Find the clips of a feature file that are most like a clip, or a whole video.

    QUERY is a video file, whose features are computed with the feature file's own model, weights and settings, or the id of
    a video in it. The index is made first where there is none, and gets what is new.

    Exit status: 0 found, 1 the query cannot be read, 2 wrong usage, 130 interrupted.

    \b
    Example:
      featx search out.h5 query.mp4 --at 12.5s -k 10
      featx search out.h5 Biking/v_Biking_g01_c01 --videos --html page.html
    """
    from featx.tasks.retrieval import search as run
    from featx.tasks.retrieval import search_text, to_json

    with _Shown() as shown:
        result = run(
            features,
            query if os.path.lexists(query) and not by_id else id_text(query),
            at=at,
            by_id=by_id,
            k=k,
            videos=videos,
            per_video=per_video,
            own=own,
            layer=layer,
            index=index_folder,
            weights=weights,
            project=project,
            html=html,
            on_index=shown.start,
            on_progress=shown,
            on_query=_query_progress(),
        )
    for note in result.notes:
        echo(f"note: {note}", err=True)
    echo(to_json(result) if as_json else search_text(result))
    if html is not None:
        echo(f"{html}: {len(result.hits)} found, with pictures", err=as_json)


def _query_progress() -> Progress:
    """Return what says every ten seconds how far a long query's features are computed."""
    progress = Progress()
    progress.total = 1
    return progress


class _Shown:
    """What an indexing does, said when it begins, and a bar from then on; nothing where the index is up to date."""

    def __init__(self) -> None:
        self._bar = ExitStack()
        self._progress: Callable[[int, int | None], None] = lambda done, of: None

    def __enter__(self) -> _Shown:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def start(self, plan: Plan) -> None:
        from featx.tasks.retrieval import plan_text

        echo(plan_text(plan), err=True)
        self._progress = self._bar.enter_context(bar("video"))

    def __call__(self, done: int, of: int) -> None:
        self._progress(done, of)
        if done == of:
            self._bar.close()
