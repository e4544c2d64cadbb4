"""A study's table: as comma-separated values, as text, as a picture; the paper's figures never without what they are worth."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from featx.evaluation import PROTOCOLS
from featx.report import table
from featx.show import Cost, plot_cost
from featx.study._run import Entry, StudyReport
from featx.study._table import STUDIES, Printed, Row, Study
from featx.system.csv_cells import text_cell
from featx.system.extras import installed
from featx.system.files import disk_full, write_atomically
from featx.system.text import Text, joined

COLUMNS = ("name", "model", "group", "accuracy", "low", "high", "videos", "paper", "multiply_adds", "parameters", "updates",
           "paper_source", "differs")  # fmt: skip


def write(report: StudyReport) -> None:
    """Write results.csv, results.txt and, once a row has a result and where matplotlib is installed, results.png."""
    out = Path(report.out)
    with disk_full(out):
        write_atomically(out / "results.csv", _csv(report).encode())
        write_atomically(out / "results.txt", f"{as_text(report)}\n".encode())
    drawn = any(e.result is not None and e.counts is not None for e in report.entries)
    if drawn and installed("matplotlib"):
        plot_cost(_costs(report), out / "results.png", title=_title(report))


def as_text(report: StudyReport) -> Text:
    """Return the table as text for a person, with what it rests on."""
    rows = []
    for entry in report.entries:
        result, figure, counts = entry.result, _figure(report, entry), entry.counts
        rows.append(
            (
                entry.row.name,
                entry.row.model,
                f"{result.accuracy:.1f}" if result else "failed" if entry.failure else "",
                f"{result.low:.1f} to {result.high:.1f}" if result else "",
                _printed(figure, report) if figure else "",
                _compared(report, entry),
                f"{counts.multiply_adds / 1e9:.1f}" if counts else "",
                f"{counts.params / 1e6:.1f}" if counts else "",
                f"{result.updates:,}" if result else "",
            )
        )
    protocol = PROTOCOLS[report.study.protocol]
    headers = (
        "row",
        "model",
        "%",
        "95 % interval",
        "paper",
        "comparable",
        "1e9 multiply-adds",
        "1e6 parameters",
        "updates",
    )
    done = sum(entry.result is not None for entry in report.entries)
    return joined(
        [
            f"{report.study.name}: {report.study.title} ({report.study.source})",
            f"{report.evaluated.title}, {len(report.evaluated.items)} videos, top-1 by protocol {protocol.name}:"
            f" {protocol.description}; seed {report.settings.run.seed}; {done} of {len(report.study.rows)} rows",
            "",
            table(rows, headers=headers),
            "",
            _words(report),
            *(
                f"{entry.row.name}: {'; '.join(entry.differences)}"
                for entry in report.entries
                if entry.differences
            ),
            *_starts(report),
            *(
                f"{entry.row.name}: {entry.result.failed} of {entry.result.videos} videos could not be read and count as wrong"
                for entry in report.entries
                if entry.result and entry.result.failed
            ),
            *(f"{name} failed: {reason}" for name, reason in report.failures.items()),
            *(f"note: {note}" for note in (*report.study.notes, *report.notes)),
        ]
    )


def to_json(report: StudyReport) -> dict[str, Any]:
    """Return the table as plain JSON values."""
    return {
        "study": report.study.name,
        "source": report.study.source,
        "protocol": report.study.protocol,
        "on": report.evaluated.title,
        "differences": report.differences,
        "settings": report.settings.recorded,
        "notes": [*report.study.notes, *report.notes],
        "rows": [{**_values(report, entry), "failure": entry.failure} for entry in report.entries],
    }


def listed(study: Study) -> Text:
    """Return a study's rows with the paper's figures, which needs no data."""
    rows = [
        (
            row.name,
            row.model,
            row.options,
            row.recipe or "",
            _figures(row),
            "; ".join(dict.fromkeys(p.where for p in row.printed)),
        )
        for row in study.rows
    ]
    recipes = [
        f"{name}{f' on {dataset}' if dataset else ''}" for dataset, name in study.recipes.items()
    ]
    return joined(
        [
            f"{study.name}: {study.title} ({study.source})",
            f"recipe {', else '.join(recipes)}; protocol {study.protocol}",
            "",
            table(rows, headers=("row", "model", "options", "recipe", "paper, %", "where")),
            "",
            *(f"note: {note}" for note in study.notes),
        ]
    )


def _figures(row: Row) -> str:
    """Return a row's printed accuracies by dataset, as "ucf101 82.4, 82.9, 81.8 (splits 1, 2, 3)"."""
    texts = []
    for dataset in dict.fromkeys(p.dataset for p in row.printed):
        figures = [p for p in row.printed if p.dataset == dataset]
        splits = ", ".join(str(p.split) for p in figures if p.split is not None)
        of = f"split{'s' if len(figures) > 1 else ''} {splits}" if splits else "mean of 3 splits"
        texts.append(f"{dataset} {', '.join(f'{p.accuracy:g}' for p in figures)} ({of})")
    return "; ".join(texts)


def overview() -> str:
    """Return the studies there are."""
    return table(
        [(s.name, len(s.rows), s.title, s.source) for s in STUDIES.values()],
        headers=("study", "rows", "compares", "source"),
    )


def _figure(report: StudyReport, entry: Entry) -> Printed | None:
    return entry.row.figure(report.settings.name, report.settings.dataset.split)


def _compared(report: StudyReport, entry: Entry) -> str:
    if _figure(report, entry) is None:
        return ""
    return "no" if report.differences or entry.differences else "yes"


def _printed(figure: Printed, report: StudyReport) -> str:
    """Return a printed accuracy, with what it is for where that is not what was measured here."""
    same = figure.dataset == report.settings.name and figure.split == report.settings.dataset.split
    return (
        f"{figure.accuracy:g}"
        if same
        else f"{figure.accuracy:g} ({figure.dataset}{_split(figure)})"
    )


def _split(figure: Printed) -> str:
    return ", mean of 3 splits" if figure.split is None else f" split {figure.split}"


def _words(report: StudyReport) -> str:
    """Say whether the accuracies can be held against the paper's."""
    if report.differences:
        return f"NOT comparable with the paper's figures: {'; '.join(report.differences)}"
    if all(_figure(report, entry) is None for entry in report.entries):
        return "the paper prints no figures to compare with"
    return "official data and the paper's recipe: comparable with the paper's figures where the table says so"


def _starts(report: StudyReport) -> list[str]:
    found = {
        entry.row.name: entry.result.weights
        for entry in report.entries
        if entry.result and entry.result.weights
    }
    return [
        f"{name} starts from {weights}, the paper's from weights of its own"
        for name, weights in found.items()
    ]


def _values(report: StudyReport, entry: Entry) -> dict[str, Any]:
    row, result, counts, figure = entry.row, entry.result, entry.counts, _figure(report, entry)
    return {
        "name": row.name,
        "model": row.model,
        "group": row.group,
        "accuracy": result.accuracy if result else None,
        "low": result.low if result else None,
        "high": result.high if result else None,
        "videos": result.videos if result else None,
        "paper": figure.accuracy if figure else None,
        "multiply_adds": counts.multiply_adds if counts else None,
        "parameters": counts.params if counts else None,
        "updates": result.updates if result else None,
        "paper_source": f"{report.study.paper}, {figure.where}: {figure.dataset}{_split(figure)}"
        if figure
        else None,
        "differs": "; ".join([*report.differences, *entry.differences]),
    }


def _csv(report: StudyReport) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    # `featx show cost` draws by multiply-adds: a network that refuses the clips has none, and stands in results.txt alone.
    writer.writerows(
        {name: text_cell(value) for name, value in _values(report, entry).items()}
        for entry in report.entries
        if entry.counts is not None
    )
    return text.getvalue()


def _costs(report: StudyReport) -> Sequence[Cost]:
    """Return the marks of the picture; the paper's only where a mark beside them means something."""
    costs = []
    for entry in report.entries:
        if entry.counts is None:
            continue
        figure = _figure(report, entry) if _compared(report, entry) == "yes" else None
        costs.append(
            Cost(
                name=entry.row.name,
                multiply_adds=entry.counts.multiply_adds,
                accuracy=entry.result.accuracy if entry.result else None,
                paper=figure.accuracy if figure else None,
                group=entry.row.group,
            )
        )
    return costs


def _title(report: StudyReport) -> str:
    found = f"{report.study.name}, {report.evaluated.title}"
    return (
        f"{found}: not comparable with the paper ({report.differences[0]})"
        if report.differences
        else found
    )
