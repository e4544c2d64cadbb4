"""What an evaluation found as a page to look through: figures, curves, time lines and the worst mistakes, all in one file."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from featx.datasets.untrimmed import Annotations
from featx.errors import UsageError
from featx.report import page as html
from featx.report.page import Markup, element
from featx.tasks.localization import _curves, _page_tables, _page_videos
from featx.tasks.localization._diagnosis import Judged, best_threshold, judge
from featx.tasks.localization._page_videos import Reel, Stretch
from featx.tasks.localization._protocols import RULES
from featx.tasks.localization._timeline import line_of
from featx.tasks.localization._types import AtThreshold, Evaluation, Ints

WORST, MISSED, LINES = 50, 20, 6
_STYLE = """
:root { --hit: #0072b2; --false: #d55e00; --hit-soft: #73b2d5; --false-soft: #e8a773; --dropped: #d7dadd;
        --mark: #0072b21a; }
@media (prefers-color-scheme: dark) {
  :root { --hit: #56b4e9; --false: #f0803c; --hit-soft: #3a6b88; --false-soft: #875131; --dropped: #444950; --mark: #56b4e926; }
}
/* Names of any length: the tables of classes and videos have them whole. */
.name { display: -webkit-box; -webkit-box-orient: vertical; -webkit-line-clamp: 3; overflow: hidden; }
details { margin: .5rem 0; }
summary { cursor: pointer; }
"""


@dataclass(frozen=True, kw_only=True)
class _Chosen:
    """What a page shows of an evaluation: rows of detections, places of instances, and videos."""

    worst: Ints
    missed: Ints
    videos: tuple[str, ...]


def write_page(
    evaluations: Sequence[Evaluation],
    out: str | os.PathLike[str],
    *,
    annotations: Annotations,
    videos: Mapping[str, str | os.PathLike[str]] | None = None,
    title: str = "",
    about: Sequence[str] = (),
    tiou: float = 0.5,
    worst: int = WORST,
    missed: int = MISSED,
    lines: int = LINES,
    on_progress: Callable[[int, int | None], None] = lambda done, of: None,
) -> list[str]:
    """Write the page, whole or not at all; returns a sentence for each video that is at hand and cannot be read.

    evaluations: of the same detections, each by another protocol; the first is looked into. videos: files by name, for frames.
    title: the page's. about: sentences on what was evaluated, without their ends. tiou: one of the evaluations' thresholds.
    worst, missed, lines: at most so many false positives, missed instances and time lines are shown.

    Raises UsageError for another tIoU, or where nothing can be written.
    """
    html.check_page(out)
    lacking: list[str] = []
    text = html_of(
        evaluations,
        lacking,
        annotations=annotations,
        videos=videos,
        title=title or "Detections",
        about=about,
        tiou=tiou,
        worst=worst,
        missed=missed,
        lines=lines,
        on_progress=on_progress,
    )
    html.write_page(out, text)
    return lacking


def html_of(
    evaluations: Sequence[Evaluation],
    lacking: list[str],
    *,
    annotations: Annotations,
    videos: Mapping[str, str | os.PathLike[str]] | None,
    title: str,
    about: Sequence[str],
    tiou: float,
    worst: int,
    missed: int,
    lines: int,
    on_progress: Callable[[int, int | None], None],
) -> str:
    """Return the page; a sentence for each video that is at hand and cannot be read is added to `lacking`."""
    first = evaluations[0]
    at = at_tiou(first, tiou)
    judged = judge(first, at, annotations)
    least = best_threshold(judged.detections, judged.matched, len(judged.instances))
    chosen = _choose(judged, worst, missed, lines)
    wanted: dict[str, list[Stretch]] = {}
    shown = [_page_videos.of_row(judged, row) for row in chosen.worst]
    for video, times in [
        *shown,
        *(_page_videos.of_instance(judged, place) for place in chosen.missed),
    ]:
        wanted.setdefault(video, []).append(times)
    reels = _page_videos.read_reels(wanted, chosen.videos, videos, on_progress) if videos else {}
    lacking += _page_videos.lacking(reels)
    others = [(e, found) for e in evaluations[1:] for found in e.thresholds if found.tiou == tiou]
    body = [
        *_head(evaluations, judged, title, about),
        _on_frames(videos, reels),
        *_classes(first, at, others),
        *_mistakes(judged, tiou, least),
        *_lines(judged, annotations, chosen.videos, reels, tiou),
        *_cards(judged, chosen, reels, annotations.classes),
        *_foot(evaluations),
    ]
    style = "".join([_STYLE, _page_tables.STYLE, _curves.STYLE, _page_videos.STYLE])
    return html.page(title, body, style=style)


def at_tiou(evaluation: Evaluation, tiou: float) -> AtThreshold:
    """Return an evaluation at one of its thresholds; UsageError for another."""
    for at in evaluation.thresholds:
        if abs(at.tiou - tiou) < 1e-9:
            return at
    has = ", ".join(f"{at.tiou:g}" for at in evaluation.thresholds)
    raise UsageError(f"tIoU {tiou:g} was not evaluated: choose one of {has}")


def _choose(judged: Judged, worst: int, missed: int, lines: int) -> _Chosen:
    wrong = np.flatnonzero(judged.kind >= 0)
    wrong = wrong[np.argsort(-judged.detections.score[wrong], kind="stable")][:worst]
    length = np.array([i.end - i.start for i in judged.instances])
    lost = np.flatnonzero(~judged.found)
    lost = lost[np.argsort(-length[lost], kind="stable")][:missed]
    return _Chosen(worst=wrong, missed=lost, videos=_spread_videos(judged, lines))


def _spread_videos(judged: Judged, count: int) -> tuple[str, ...]:
    """Return videos from the one whose instances were found best to the one found worst, evenly."""
    found: dict[str, list[bool]] = {}
    for instance, row in zip(judged.instances, judged.hit, strict=True):
        found.setdefault(instance.video, []).append(bool(row >= 0))
    ranked = sorted(
        found, key=lambda video: (-sum(found[video]) / len(found[video]), -len(found[video]), video)
    )
    places = np.linspace(0, len(ranked) - 1, min(count, len(ranked))).round().astype(int)
    return tuple(ranked[place] for place in dict.fromkeys(places.tolist()))


def _head(
    evaluations: Sequence[Evaluation], judged: Judged, title: str, about: Sequence[str]
) -> list[Markup]:
    first = evaluations[0]
    said = (
        f"{len(judged.detections):,} detections held against {len(judged.instances):,} instances of {len(first.classes)} classes"
        f" in {len(first.videos):,} videos of {first.annotations}."
    )
    notes = [
        f"{RULES[e.protocol].name} protocol, {'; '.join([RULES[e.protocol].text, *e.notes])}."
        for e in evaluations
    ]
    if any(at.interval is not None for e in evaluations for at in e.thresholds):
        notes.append("Below a mean, its 95 % interval: videos drawn again with replacement.")
    return [
        element("h1", title),
        element("p", said),
        *(element("p", f"{sentence}.", class_="soft") for sentence in about),
        element("h2", "Mean average precision, by tIoU"),
        _page_tables.means(evaluations),
        *(element("p", note, class_="soft") for note in notes),
    ]


def _on_frames(
    videos: Mapping[str, str | os.PathLike[str]] | None, reels: Mapping[str, Reel]
) -> Markup:
    """Return what is to be said of the frames; nothing where all are there."""
    if not videos:
        return element(
            "p", "This page was made without the videos at hand: it shows no frames.", class_="soft"
        )
    gone = sum(bool(reel.why) for reel in reels.values())
    return (
        element("p", f"{gone} of the {len(reels)} videos shown here have no frames.", class_="soft")
        if gone
        else Markup("")
    )


def _classes(
    first: Evaluation, at: AtThreshold, others: Sequence[tuple[Evaluation, AtThreshold]]
) -> list[Markup]:
    name = RULES[first.protocol].name
    body = [element("h2", f"Classes, by {name} and tIoU"), _page_tables.classes(first, at.tiou)]
    for other, chosen in others:
        summary = element("summary", f"The same by {RULES[other.protocol].name}")
        body.append(element("details", summary, _page_tables.classes(other, chosen.tiou)))
    labels = np.flatnonzero(first.instances > 0)
    said = f"At tIoU {at.tiou:g}, by {name}" + "".join(
        f"; dashed, by {RULES[e.protocol].name}" for e, _ in others
    )
    if len(labels) > _curves.MOST_PAGE_PANELS:
        most = labels[np.argsort(-first.instances[labels], kind="stable")][
            : _curves.MOST_PAGE_PANELS
        ]
        said += f"; the {len(most)} of {len(labels)} classes that have the most instances"
        labels = np.sort(most)
    panels = _curves.panels([(first, at), *others], labels.tolist())
    return [
        *body,
        element("h2", "Precision over recall"),
        element("p", f"{said}.", class_="soft"),
        panels,
    ]


def _mistakes(judged: Judged, tiou: float, least: float) -> list[Markup]:
    body = [element("h2", f"What is right and wrong at tIoU {tiou:g}"), _page_tables.kinds(judged)]
    dropped = int((judged.matched < 0).sum())
    if dropped:
        body.append(
            element(
                "p",
                f"{dropped:,} more are dropped: they overlap an ambiguous stretch.",
                class_="soft",
            )
        )
    if judged.instances:
        body.append(_page_tables.lengths(judged, least))
    if np.isfinite(least):
        said = f"At score {least:.3g} or more, F1 over all classes and videos is highest."
        body.append(element("p", said, class_="soft"))
    return body


def _lines(
    judged: Judged,
    annotations: Annotations,
    videos: Sequence[str],
    reels: Mapping[str, Reel],
    tiou: float,
) -> list[Markup]:
    if not videos:
        return []
    found = len({i.video for i in judged.instances})
    said = "from the one of whose instances the largest share was found to that of the smallest"
    body = [element("h2", "Time lines"), _page_videos.colour_key()]
    body.insert(
        1, element("p", f"{_of(len(videos), found)} videos with instances, {said}.", class_="soft")
    )
    for video in videos:
        reel = reels.get(video)
        line = line_of(
            judged, annotations, video, seconds=reel.seconds if reel is not None else None
        )
        body.append(_page_videos.time_line(line, reel, tiou))
    return body


def _cards(
    judged: Judged, chosen: _Chosen, reels: Mapping[str, Reel], classes: tuple[str, ...]
) -> list[Markup]:
    wrong, lost = int((judged.kind >= 0).sum()), int((~judged.found).sum())
    body = [element("h2", "Worst false positives")]
    if len(chosen.worst):
        body.append(
            element(
                "p",
                f"{_of(len(chosen.worst), wrong)} false positives, the highest scores first.",
                class_="soft",
            )
        )
        body.append(_page_videos.worst_cards(judged, chosen.worst, reels, classes))
    else:
        body.append(
            element("p", "None." if not wrong else f"None of {wrong:,} is shown.", class_="soft")
        )
    body.append(element("h2", "Missed instances"))
    if len(chosen.missed):
        body.append(
            element(
                "p", f"{_of(len(chosen.missed), lost)} instances, the longest first.", class_="soft"
            )
        )
        body.append(_page_videos.missed_cards(judged, chosen.missed, reels, classes))
    else:
        body.append(
            element("p", "None." if not lost else f"None of {lost:,} is shown.", class_="soft")
        )
    return body


def _of(shown: int, every: int) -> str:
    return f"{shown} of {every:,}" if shown < every else f"All {every:,}"


def _foot(evaluations: Sequence[Evaluation]) -> list[Markup]:
    """Return the lists of videos that the figures were computed over, once where the protocols share it."""
    lists: dict[tuple[str, ...], list[str]] = {}
    for e in evaluations:
        lists.setdefault(e.videos, []).append(RULES[e.protocol].name)
    body = [element("h2", "Videos")]
    for names, protocols in lists.items():
        said = f"{len(names):,} videos, over which the figures by {' and '.join(protocols)} were computed"
        body.append(
            element(
                "details", element("summary", said), element("p", ", ".join(names), class_="soft")
            )
        )
    return body
