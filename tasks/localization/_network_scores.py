"""What two networks say of videos' windows, as a feature file."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from featx.errors import UsageError
from featx.extraction.extract import OtherSettings, Report, extract
from featx.extraction.settings import ClipOptions, Hooks, Machine, Settings
from featx.store.reader import FeatureStore
from featx.video.source import find_videos
from featx.weights.checkpoint import architecture_of

if TYPE_CHECKING:
    pass

# The layer of the second network's probabilities.
LOCALIZATION = "localization"


@dataclass(frozen=True, kw_only=True)
class WindowScores:
    """Videos' windows. path: the feature file; ids: those of the videos that could be read, in it, by their paths."""

    path: Path
    report: Report
    ids: Mapping[str, str]


def window_scores(
    videos: Sequence[str],
    out: str | os.PathLike[str],
    *,
    proposal: str,
    localization: str,
    gate: str = "action",
    threshold: float = 0.7,
    fps: float | Literal["own"] | None = None,
    root: str | None = None,
    machine: Machine | None = None,
    hooks: Hooks | None = None,
) -> WindowScores:
    """Return a feature file of what two networks say of videos' windows: layers `prob` and `localization`.

    videos: files, folders or lists, as `featx.extract` takes them. proposal, localization: checkpoints of one architecture and
    the same clips, which are the windows; the second sees those whose probability of `gate` by the first is `threshold` or
    more, and the rows of the others are zeros. fps: another rate of the sampled frames than the checkpoints'. root: video ids
    are relative to it. machine: how the machine is used.
    What is there already is not computed again, and an interrupted call is continued.
    """
    from featx.extraction.cascade import Cascade

    model = architecture_of(proposal)
    if (other := architecture_of(localization)) != model:
        raise UsageError(
            f"{proposal} is of {model} and {localization} of {other}: give networks of one architecture"
        )
    cascade = Cascade(weights=localization, gate=gate, threshold=threshold, name=LOCALIZATION)
    settings = Settings(
        model=model,
        weights=proposal,
        cascade=cascade,
        clip=ClipOptions(fps=fps),
        machine=machine or Machine(),
    )
    try:
        report = extract(videos, out, settings=settings, root=root, hooks=hooks)
    except OtherSettings as error:
        raise UsageError(
            f"{out} has windows by other networks or settings: {_named(error.changed)}; use those, or another file with --windows"
        ) from error
    report.notes += [note for weights in (proposal, localization) for note in _unfinished(weights)]
    return WindowScores(path=Path(out), report=report, ids=_ids_in(out, videos, root))


def _named(changed: str) -> str:
    """Return what differs by the names of detection's options."""
    for setting, option in (("cascade.threshold", "--threshold"), ("clip.fps", "--fps")):
        changed = changed.replace(f"{setting} is", f"{option} is")
    return changed


def _unfinished(weights: str) -> list[str]:
    """Return a sentence on a checkpoint of a training run that has not come to its end, for a user may not know."""
    from featx.training import finished

    folder = Path(weights).parent
    if not (folder / "run.json").exists() or finished(folder) is not None:
        return []
    return [
        f"{weights} is of a training that has not come to its end: the same training command goes on with it"
    ]


def _ids_in(
    path: str | os.PathLike[str], videos: Sequence[str], root: str | None
) -> dict[str, str]:
    """Return the ids under which videos are in a feature file, as `extract` finds them there: by id, or else by path."""
    with FeatureStore(path) as store:
        sources = find_videos(videos, layers=store.layers, root=root).sources
        elsewhere = dict[str, str]()
        if not all(source.id in store for source in sources):
            elsewhere = {os.path.realpath(video.attr("path")): video.id for video in store}
        found = {
            s.path: s.id if s.id in store else elsewhere.get(os.path.realpath(s.path))
            for s in sources
        }
    return {path: video_id for path, video_id in found.items() if video_id is not None}
