"""What a page shows of videos: their frames, their time lines, and single mistakes as cards."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from featx.errors import FeatxError
from featx.report.page import Markup, element, picture
from featx.tasks.localization._diagnosis import (
    BACKGROUND,
    BOTH_WRONG,
    NAMES,
    POOR_OVERLAP,
    SECOND,
    WRONG_CLASS,
    Judged,
)
from featx.tasks.localization._timeline import Bar, Line, Row, spread_times, tick_label, ticks
from featx.tasks.localization._types import Ints
from featx.tasks.times import stretch
from featx.video.thumbnails import Film

# Of a stretch, and of a whole video; pixels.
PER_STRETCH, PER_VIDEO, HEIGHT = 4, 10, 96

Stretch = tuple[float, float]


@dataclass
class Reel:
    """A video's frames. seconds: its length. strip: over the whole of it; of: by stretch. why: there are none, a sentence."""

    seconds: float | None = None
    strip: list[bytes] = field(default_factory=list)
    of: dict[Stretch, list[bytes]] = field(default_factory=dict)
    why: str = ""


def read_reels(
    wanted: Mapping[str, Iterable[Stretch]],
    whole: Iterable[str],
    videos: Mapping[str, str | os.PathLike[str]],
    progress: Callable[[int, int | None], None],
) -> dict[str, Reel]:
    """Return the frames of these stretches, and over the whole of some videos, by video.

    A video that is not among `videos`, or cannot be read, has none, and says why.
    """
    strips = set(whole)
    names = sorted({*wanted, *strips})
    reels = {}
    for done, name in enumerate(names):
        progress(done, len(names))
        reels[name] = (
            _reel(videos[name], tuple(wanted.get(name, ())), name in strips)
            if name in videos
            else Reel(why=_ABSENT)
        )
    progress(len(names), len(names))
    return reels


_ABSENT = "the video is not at hand"


def lacking(reels: Mapping[str, Reel]) -> list[str]:
    """Return a sentence for each video that is at hand and cannot be read."""
    return [
        f"no frames of {name}: {reel.why}"
        for name, reel in reels.items()
        if reel.why not in ("", _ABSENT)
    ]


def strip(reel: Reel, times: Stretch, name: str) -> Markup:
    """Return frames of a stretch side by side, or a word on why there are none."""
    if times not in reel.of:
        return element("div", f"no frames: {reel.why}", class_="gone")
    pictures = reel.of[times]
    each = [
        picture(jpeg, alt=f"frame {n} of {len(pictures)}: {name}, {stretch(times)}")
        for n, jpeg in enumerate(pictures, 1)
    ]
    return element("div", *each, class_="strip")


def _reel(path: str | os.PathLike[str], stretches: tuple[Stretch, ...], whole: bool) -> Reel:
    reel = Reel()
    try:
        film = Film(path)
        reel.seconds = film.duration
        over = spread_times(film.duration, PER_VIDEO) if whole else []
        inside = [
            start + t for start, end in stretches for t in spread_times(end - start, PER_STRETCH)
        ]
        jpegs = film.at([*over, *inside], height=HEIGHT)
    except FeatxError as error:
        reel.why = str(error)
        return reel
    reel.strip = jpegs[: len(over)]
    rest = jpegs[len(over) :]
    reel.of = {
        times: rest[n * PER_STRETCH : (n + 1) * PER_STRETCH] for n, times in enumerate(stretches)
    }
    return reel


# ---------------------------------------------------------------- time lines


STYLE = """
.line-card { background: var(--card); border: 1px solid var(--line); border-radius: .5rem; padding: .7rem; margin: 0 0 .8rem; }
.line-card h3 { font-size: 1rem; margin: 0; }
.film { display: flex; gap: 1px; margin: .5rem 0 .2rem; }
.film img { display: block; flex: 1 1 0; min-width: 0; height: auto; }
.film, .row, .scale { --name: 8.5rem; }
.film, .scale { margin-left: var(--name); }
.row { display: grid; grid-template-columns: var(--name) minmax(0, 1fr); align-items: center; }
.row + .row { border-top: 1px solid var(--line); }
.row > span { font-size: .85rem; line-height: 1.15; padding-right: .5rem; }
.track { position: relative; height: 42px; overflow: hidden; }
.track i { position: absolute; min-width: 2px; border: 1px solid var(--edge); }
.truth { --edge: var(--ink); top: 4px; height: 9px; }
.found { background: var(--ink); }
.bar { bottom: 2px; }
.hit { --edge: var(--hit); background: var(--hit-soft); }
.false { --edge: var(--false); background: var(--false-soft); }
.dropped { --edge: var(--soft); background: var(--dropped); }
.track .unclear { --edge: var(--line); top: 0; bottom: 0; border-width: 0 1px;
                  background: repeating-linear-gradient(135deg, transparent 0 5px, var(--line) 5px 7px); }
.scale { position: relative; height: 1.5rem; border-top: 1px solid var(--soft); font-size: .75rem; color: var(--soft);
         font-variant-numeric: tabular-nums; overflow-wrap: normal; }
.scale span { position: absolute; transform: translateX(-50%); padding-top: .15rem; }
.scale span:first-child { transform: none; }
.scale span.end { transform: translateX(-100%); }
.keys { display: flex; flex-wrap: wrap; gap: .2rem 1.1rem; margin: 0 0 .6rem; padding: 0; list-style: none; font-size: .85rem; }
.keys i { display: inline-block; position: static; width: 1.5rem; height: .7rem; margin-right: .35rem;
          border: 1px solid var(--edge); }
.keys .unclear { --edge: var(--line);
                 background: repeating-linear-gradient(135deg, transparent 0 3px, var(--soft) 3px 5px); }
@media (max-width: 40rem) {
  .film, .scale { margin-left: 0; }
  .row { grid-template-columns: minmax(0, 1fr); padding-top: .2rem; }
  .film img:nth-child(even), .scale .odd { display: none; }
}

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
_MATCHED = {1: ("hit", "true positive"), 0: ("false", "false positive"), -1: ("dropped", "dropped")}


def colour_key() -> Markup:
    """Return what the bars' colours mean."""
    entries = [("truth found", "instance, found"), ("truth", "instance, missed")]
    entries += [*_MATCHED.values(), ("unclear", "ambiguous")]
    items = [element("li", element("i", class_=kind), name) for kind, name in entries]
    return element(
        "ul",
        *items,
        element("li", "the taller a detection's bar, the higher its score"),
        class_="keys",
    )


def time_line(line: Line, reel: Reel | None, tiou: float) -> Markup:
    """Return a video's time line, under its frames where there are some."""
    above = Markup("")
    if reel is not None and reel.strip:
        total = len(reel.strip)
        frames = [
            picture(jpeg, alt=f"frame {n} of {total}: {line.video}")
            for n, jpeg in enumerate(reel.strip, 1)
        ]
        above = element("div", *frames, class_="film")
    elif reel is not None:
        above = element("div", f"no frames: {reel.why}", class_="gone")
    notes = element("p", "; ".join(line.notes) + ".", class_="soft") if line.notes else Markup("")
    rows = [_row(row, line) for row in line.rows] or [
        element("p", "no instance and no detection", class_="soft")
    ]
    head = [
        element("h3", line.video, class_="name", title=line.video),
        element("p", line.summary(tiou) + ".", class_="soft"),
    ]
    return element("section", *head, notes, above, *rows, _scale(line), class_="line-card")


def _row(row: Row, line: Line) -> Markup:
    unclear = [
        _span(line, start, end, "unclear", f"ambiguous, {stretch((start, end))}")
        for start, end in line.ambiguous
    ]
    truths = [
        _span(line, t.start, t.end, "truth found" if t.found else "truth",
              f"{row.name}, {stretch((t.start, t.end))}, {'found' if t.found else 'missed'}")
        for t in row.truths
    ]  # fmt: skip
    bars = [_bar(line, row.name, bar) for bar in row.bars]
    return element(
        "div",
        element("span", row.name, class_="name", title=row.name),
        element("div", *unclear, *truths, *bars, class_="track"),
        class_="row",
    )


def _bar(line: Line, name: str, bar: Bar) -> Markup:
    kind, said = _MATCHED[bar.matched]
    text = f"{name}, {stretch((bar.start, bar.end))}, score {bar.score:.3g}, {said}"
    return _span(line, bar.start, bar.end, f"bar {kind}", text, f";height:{22 * bar.height:.0f}px")


def _span(line: Line, start: float, end: float, kind: str, title: str, style: str = "") -> Markup:
    left = 100 * start / line.seconds
    width = 100 * (min(end, line.seconds) - start) / line.seconds
    return element(
        "i", class_=kind, title=title, style=f"left:{left:.3f}%;width:{max(width, 0):.3f}%{style}"
    )


def _scale(line: Line) -> Markup:
    """Return the time axis; every second mark goes where there is little room."""
    marks = []
    for number, at in enumerate(ticks(line.seconds, 12)):
        place = 100 * at / line.seconds
        kinds = [kind for kind, holds in (("odd", number % 2), ("end", place > 96)) if holds]
        marks.append(
            element(
                "span",
                tick_label(at, line.seconds),
                class_=" ".join(kinds),
                style=f"left:{place:.3f}%",
            )
        )
    if line.seconds <= 120 and marks:
        marks[0] = element("span", "0 s", style="left:0")
    return element("div", *marks, class_="scale")


# ---------------------------------------------------------------- cards: false positives and missed instances


def of_row(judged: Judged, row: int) -> tuple[str, Stretch]:
    """Return a detection's video and stretch."""
    found = judged.detections
    return found.videos[found.video[row]], (float(found.start[row]), float(found.end[row]))


def of_instance(judged: Judged, place: int) -> tuple[str, Stretch]:
    """Return an instance's video and stretch."""
    instance = judged.instances[place]
    return instance.video, (instance.start, instance.end)


def worst_cards(
    judged: Judged, rows: Ints, reels: Mapping[str, Reel], classes: tuple[str, ...]
) -> Markup:
    """Return a card a false positive."""
    return element(
        "ol",
        *(_false(judged, int(row), n, reels, classes) for n, row in enumerate(rows, 1)),
        class_="cards",
    )


def missed_cards(
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
