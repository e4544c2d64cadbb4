"""Time lines of videos within a page: as wide as there is room, in the page's colours."""

from __future__ import annotations

from featx.report.page import Markup, element, picture
from featx.tasks._time import stretch
from featx.tasks.localization.pictures._page_frames import Reel
from featx.tasks.localization.pictures._timeline_rows import Bar, Line, Row, tick_label, ticks

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
"""
_MATCHED = {1: ("hit", "true positive"), 0: ("false", "false positive"), -1: ("dropped", "dropped")}


def key() -> Markup:
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
