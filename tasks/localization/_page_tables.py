"""An evaluation's figures as tables of a page: mAP by protocol, average precision by class, what goes wrong, what is found."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from featx.report.page import Markup, element
from featx.tasks.localization._diagnosis import LEAST_TIOU, NAMES, TRUE, Judged
from featx.tasks.localization._evaluate import mean_over
from featx.tasks.localization._protocols import RULES
from featx.tasks.localization._types import AtThreshold, Evaluation, Ints

STYLE = """
.wide { overflow-x: auto; background: var(--card); border: 1px solid var(--line); border-radius: .5rem; margin: .5rem 0; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; overflow-wrap: normal; font-size: .95rem; }
th, td { padding: .3rem .55rem; text-align: right; vertical-align: top; border-top: 1px solid var(--line); white-space: nowrap; }
thead th, thead td { border-top: 0; white-space: normal; color: var(--soft); font-weight: 600; font-size: .85rem;
                     vertical-align: bottom; }
th:first-child, td.text { text-align: left; white-space: normal; }
tbody th { font-weight: 600; position: sticky; left: 0; background: var(--card); min-width: 7.5rem; max-width: 16rem;
           overflow-wrap: anywhere; }
tbody th.short { min-width: 0; white-space: nowrap; }
td small, th small { display: block; color: var(--soft); font-weight: 400; font-size: .8rem; }
tr.mean td, tr.mean th { border-top: 2px solid var(--soft); font-weight: 600; }
.meter { min-width: 5rem; width: 22%; }
.meter > div { margin-top: .35rem; background: var(--mark); }
.meter div div { height: .75rem; background: var(--hit); }
.chosen { background: var(--mark); }
.means th, .means td { padding: .3rem .35rem; }
@media (max-width: 40rem) { .meter { display: none; } th, td { padding: .3rem .4rem; } }
"""
# A class's name that is not broken: THUMOS'14's longest has 17 letters.
LONGEST_NAME = 18
# Seconds, where bins of instances by their length begin.
_BINS = (0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)
_KINDS = (
    "another detection already is that instance's",
    "an instance of another class lies there",
    "an instance of its class lies there, and overlaps too little",
    "an instance of another class overlaps it, too little for that one as well",
    f"no instance overlaps it by tIoU {LEAST_TIOU:g} or more",
)


def means(evaluations: Sequence[Evaluation]) -> Markup:
    """Return mAP by protocol, a column a tIoU."""
    tious = sorted({at.tiou for e in evaluations for at in e.thresholds})
    rows = []
    for e in evaluations:
        by = {at.tiou: at for at in e.thresholds}
        cells = [_mean_cell(by.get(tiou)) for tiou in tious]
        if len(e.thresholds) > 1:
            cells.append(element("td", f"{100 * mean_over(e):.2f}"))
        rows.append(element("tr", element("th", RULES[e.protocol].name, scope="row"), *cells))
    mean = ["mean"] if any(len(e.thresholds) > 1 for e in evaluations) else []
    return _table(["mAP in %", *(f"{tiou:g}" for tiou in tious), *mean], rows, class_="means")


def classes(evaluation: Evaluation, tiou: float) -> Markup:
    """Return average precision by class, the highest at the chosen tIoU first."""
    chosen = next(at for at in evaluation.thresholds if at.tiou == tiou)
    order = np.argsort(-np.nan_to_num(chosen.ap, nan=-1.0), kind="stable")
    rows = [_class_row(evaluation, chosen, int(label)) for label in order]
    every = [
        element("td", f"{100 * at.mean_ap:.1f}", **_chosen(at, chosen))
        for at in evaluation.thresholds
    ]
    sums = [f"{int(evaluation.instances.sum()):,}", f"{len(chosen.detections):,}"]
    last = [
        element("th", "mean", scope="row"),
        element("td", class_="meter"),
        *every,
        *(element("td", text) for text in sums),
    ]
    tious = [f"{at.tiou:g}" for at in evaluation.thresholds]
    return _table(
        ["AP in %", "", *tious, "instances", "detections"],
        [*rows, element("tr", *last, class_="mean")],
    )


def kinds(judged: Judged) -> Markup:
    """Return what the detections are, among as many of the highest as there are instances and among all."""
    counted = np.flatnonzero(judged.matched >= 0)
    first = counted[np.argsort(-judged.detections.score[counted], kind="stable")][
        : len(judged.instances)
    ]
    texts = [("true positive", "the instance's detection"), *zip(NAMES, _KINDS, strict=True)]
    rows = []
    for number, (name, what) in enumerate(texts, start=TRUE):
        share = float((judged.kind[first] == number).mean()) if len(first) else 0.0
        count = int((judged.kind[counted] == number).sum())
        cells = [
            element("td", _bar(share), class_="meter"),
            element("td", f"{100 * share:.1f} %"),
            element("td", f"{count:,}"),
        ]
        rows.append(element("tr", element("th", name, element("small", what), scope="row"), *cells))
    return _table(["kind", "", f"of the {len(first):,} surest",
                   f"of all {len(counted):,}"], rows)  # fmt: skip


def lengths(judged: Judged, least: float) -> Markup:
    """Return how many instances were found, by their length; least: a score that counts in the second column."""
    length = np.array([i.end - i.start for i in judged.instances])
    sure = judged.found.copy()
    sure[judged.found] = judged.detections.score[judged.hit[judged.found]] >= least
    bins: Ints = np.digitize(length, _BINS) - 1
    rows = []
    for number in np.unique(bins):
        inside = bins == number
        low, high = _BINS[number], _BINS[number + 1] if number + 1 < len(_BINS) else None
        name = f"{low:g} to {high:g} s" if high is not None else f"{low:g} s or longer"
        rows.append(
            _length_row(
                name, int(inside.sum()), int(judged.found[inside].sum()), int(sure[inside].sum())
            )
        )
    if len(rows) > 1:
        rows.append(
            _length_row("all", len(length), int(judged.found.sum()), int(sure.sum()), class_="mean")
        )
    return _table(["instances, by length", "", "number", "found", f"by score ≥ {least:.3g}"], rows)


def _mean_cell(at: AtThreshold | None) -> Markup:
    if at is None:
        return element("td")
    low_high = (
        "" if at.interval is None else "{:.1f}–{:.1f}".format(*(100 * end for end in at.interval))
    )
    return element("td", f"{100 * at.mean_ap:.2f}", element("small", low_high))


def _class_row(evaluation: Evaluation, chosen: AtThreshold, label: int) -> Markup:
    cells = [element("td", f"{100 * at.ap[label]:.1f}" if np.isfinite(at.ap[label]) else "none", **_chosen(at, chosen))
             for at in evaluation.thresholds]  # fmt: skip
    counts = [int(evaluation.instances[label]), int((chosen.detections.label == label).sum())]
    share = float(np.nan_to_num(chosen.ap[label]))
    text = evaluation.classes[label]
    name = element(
        "th", text, scope="row", **({"class_": "short"} if len(text) <= LONGEST_NAME else {})
    )
    return element(
        "tr",
        name,
        element("td", _bar(share), class_="meter"),
        *cells,
        *(element("td", f"{n:,}") for n in counts),
    )


def _length_row(name: str, number: int, found: int, sure: int, **attributes: str) -> Markup:
    cells = [element("td", _bar(found / number), class_="meter"), element("td", f"{number:,}")]
    cells += [
        element("td", f"{n:,}", element("small", f"{100 * n / number:.0f} %"))
        for n in (found, sure)
    ]
    return element("tr", element("th", name, scope="row"), *cells, **attributes)


def _bar(share: float) -> Markup:
    return element("div", element("div", style=f"width:{100 * share:.1f}%"))


def _chosen(at: AtThreshold, chosen: AtThreshold) -> dict[str, str]:
    return {"class_": "chosen"} if at is chosen else {}


def _table(head: Sequence[str], rows: Sequence[Markup], **attributes: str) -> Markup:
    """Return a table, to be moved sideways where it is too wide; a column without a heading is one of bars."""
    cells = [
        element("th", text, scope="col") if text else element("td", class_="meter") for text in head
    ]
    inner = element(
        "table", element("thead", element("tr", *cells)), element("tbody", *rows), **attributes
    )
    return element("div", inner, class_="wide", tabindex="0")
