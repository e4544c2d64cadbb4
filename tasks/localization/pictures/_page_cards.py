"""Single mistakes on a page, each with its frames: false positives and missed instances."""

from __future__ import annotations

from collections.abc import Mapping

from featx.report.page import Markup, element
from featx.tasks._time import stretch
from featx.tasks.localization._types import Ints
from featx.tasks.localization.pictures._page_frames import Reel, Stretch, strip
from featx.tasks.localization.pictures._timeline_errors import (
    BACKGROUND,
    BOTH_WRONG,
    NAMES,
    POOR_OVERLAP,
    SECOND,
    WRONG_CLASS,
    Judged,
)

STYLE = """
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 21rem), 1fr)); gap: .8rem; list-style: none;
         margin: .6rem 0 0; padding: 0; }
.card { background: var(--card); border: 1px solid var(--line); border-radius: .5rem; padding: .7rem; min-width: 0; }
.strip { display: grid; grid-template-columns: repeat(4, 1fr); gap: 2px; margin-bottom: .5rem; }
.strip img { display: block; width: 100%; height: auto; border-radius: 2px; }
.gone { display: flex; align-items: center; justify-content: center; min-height: 2.4rem; margin-bottom: .5rem; padding: .4rem;
        border: 1px dashed var(--line); border-radius: 2px; color: var(--soft); font-size: .9rem; text-align: center; }
.line { display: flex; gap: .8rem; align-items: baseline; justify-content: space-between; font-variant-numeric: tabular-nums; }
.line span:last-child { white-space: nowrap; }
.why { font-size: .9rem; }
"""


def of_row(judged: Judged, row: int) -> tuple[str, Stretch]:
    """Return a detection's video and stretch."""
    found = judged.detections
    return found.videos[found.video[row]], (float(found.start[row]), float(found.end[row]))


def of_instance(judged: Judged, place: int) -> tuple[str, Stretch]:
    """Return an instance's video and stretch."""
    instance = judged.instances[place]
    return instance.video, (instance.start, instance.end)


def worst(
    judged: Judged, rows: Ints, reels: Mapping[str, Reel], classes: tuple[str, ...]
) -> Markup:
    """Return a card a false positive."""
    return element(
        "ol",
        *(_false(judged, int(row), n, reels, classes) for n, row in enumerate(rows, 1)),
        class_="cards",
    )


def missed(
    judged: Judged, places: Ints, reels: Mapping[str, Reel], classes: tuple[str, ...]
) -> Markup:
    """Return a card a missed instance."""
    return element(
        "ol", *(_lost(judged, int(place), reels, classes) for place in places), class_="cards"
    )


def why(judged: Judged, row: int, classes: tuple[str, ...]) -> str:
    """Return what is wrong with a false positive, a sentence without its end. classes: the instances'."""
    kind, place = int(judged.kind[row]), int(judged.nearest[row])
    if place < 0:
        return f"{NAMES[BACKGROUND]}: the video has no instance"
    instance, tiou = judged.instances[place], float(judged.tiou[row])
    there = f"{classes[instance.label]} at {stretch((instance.start, instance.end))}"
    if kind == BACKGROUND:
        return f"{NAMES[kind]}: " + (
            f"tIoU {tiou:.2f} with {there} is the highest"
            if tiou > 0
            else "it overlaps no instance"
        )
    return {
        SECOND: f"{NAMES[SECOND]} of {there}, tIoU {tiou:.2f}",
        WRONG_CLASS: f"{NAMES[WRONG_CLASS]}: it is {there}, tIoU {tiou:.2f}",
        POOR_OVERLAP: f"{NAMES[POOR_OVERLAP]}: tIoU {tiou:.2f} with {there}",
        BOTH_WRONG: f"{NAMES[BOTH_WRONG]}: tIoU {tiou:.2f} with {there}",
    }[kind]


def _false(
    judged: Judged, row: int, number: int, reels: Mapping[str, Reel], classes: tuple[str, ...]
) -> Markup:
    video, times = of_row(judged, row)
    name = judged.detections.classes[judged.detections.label[row]]
    return element(
        "li",
        _frames(reels, video, times, f"{name} in {video}"),
        _line(f"{number}. ", name, f"score {judged.detections.score[row]:.3g}"),
        _line("", video, stretch(times), strong=False),
        element("div", why(judged, row, classes), class_="why soft name"),
        class_="card",
    )


def _lost(
    judged: Judged, place: int, reels: Mapping[str, Reel], classes: tuple[str, ...]
) -> Markup:
    video, times = of_instance(judged, place)
    name = classes[judged.instances[place].label]
    row = int(judged.by[place])
    said = "no detection of its class overlaps it"
    if row >= 0:
        _, other = of_row(judged, row)
        score = judged.detections.score[row]
        said = f"nearest of its class: {stretch(other)}, tIoU {judged.best[place]:.2f}, score {score:.3g}"
    return element(
        "li",
        _frames(reels, video, times, f"{name} in {video}"),
        _line("", name, f"{times[1] - times[0]:.1f} s"),
        _line("", video, stretch(times), strong=False),
        element("div", said, class_="why soft"),
        class_="card",
    )


def _frames(reels: Mapping[str, Reel], video: str, times: Stretch, name: str) -> Markup:
    return strip(reels[video], times, name) if video in reels else Markup("")


def _line(before: str, left: str, right: str, *, strong: bool = True) -> Markup:
    name = element("strong", left) if strong else left
    return element(
        "div",
        element("span", before, name, class_="name", title=left),
        element("span", right),
        class_="line",
    )
