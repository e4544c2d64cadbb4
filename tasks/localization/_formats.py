"""Detections as files: the official text format, ActivityNet's JSON, and a table; which of them a file is, read and written."""

from __future__ import annotations

import csv
import io
import json
import os
import re
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from featx.datasets.untrimmed import Annotations
from featx.errors import FeatxError, UsageError, nearest
from featx.report import write_csv
from featx.system.csv_cells import cell_text
from featx.system.files import disk_full, write_atomically
from featx.tasks.localization._types import Detections

ClassIds = Literal["official", "consecutive"]
Kind = Literal["text", "json", "table", "scnn"]
TABLE = ("video", "class", "start", "end", "score")
_CLASS_ID = re.compile(r"\+?(\d{1,9})(?:\.0*)?")  # 7, and 7.0 as it is written with other numbers


def kind_of(path: str | os.PathLike[str]) -> Kind:
    """Return the format of a file of detections, by its content; UsageError where it cannot be read."""
    source = Path(path)
    if (
        source.exists() and not source.is_file() and not source.is_dir()
    ):  # a pipe, of which the first look would be the last
        raise UsageError(f"{source} is no ordinary file: write the detections to one first")
    try:
        with source.open("rb") as file:
            begin = file.read(4096)
    except OSError as error:
        raise UsageError(
            f"cannot read {source} ({error.strerror}): give a file of detections: text, JSON, csv or res_seg_swin.mat"
        ) from error
    if (
        begin.startswith(b"MATLAB ")
        or begin.startswith(b"\x89HDF")
        or source.suffix.lower() == ".mat"
    ):
        return "scnn"
    if b"\0" in begin:
        raise UsageError(
            f"{source} is no file of detections: give text, JSON, csv or the S-CNN authors' res_seg_swin.mat"
        )
    text = begin.removeprefix(b"\xef\xbb\xbf").lstrip()
    if text[:1] in (b"{", b"[") or source.suffix.lower() == ".json":
        return "json"
    header = {name.strip(b' "\r') for name in text.split(b"\n", 1)[0].split(b",")}
    return (
        "table"
        if header.issuperset(name.encode() for name in TABLE) or source.suffix.lower() == ".csv"
        else "text"
    )


def read_detections(
    path: str | os.PathLike[str], annotations: Annotations, *, class_ids: ClassIds | None = None
) -> Detections:
    """Read detections from text, JSON or a table; classes are the annotations', rows in the file's order.

    class_ids: of the text format, 1 … C in the classes' order or the official lists' numbers, where a file could have either.
    Raises UsageError for a class that the annotations do not have, FeatxError with the row for what is no detection.
    """
    source, kind = Path(path), kind_of(path)
    if kind == "scnn":
        raise UsageError(
            f"{source} has windows, not detections: they take a prior and suppression first"
        )
    if class_ids is not None and kind != "text":
        raise UsageError(
            f"class ids are the text format's, and {source} has classes by name: leave `class_ids` out"
        )
    try:
        text = source.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise FeatxError(
            f"{source} cannot be read as text ({error}): write it again in UTF-8"
        ) from error
    rows = _Rows(source)
    if kind == "json":
        _parse_json(text, rows)
    elif kind == "table":
        _parse_table(text, rows)
    else:
        _parse_text(text, rows)
    labels = (
        _by_number(rows, annotations, class_ids) if kind == "text" else _by_name(rows, annotations)
    )
    return rows.detections(annotations.classes, labels)


@dataclass
class _Rows:
    """Rows as they are read. where: of each row, line number; or in JSON its place in its video's list, from 1."""

    source: Path
    videos: dict[str, int] = field(default_factory=dict)
    classes: dict[str, int] = field(default_factory=dict)
    video: array[int] = field(default_factory=lambda: array("q"))
    named: array[int] = field(default_factory=lambda: array("q"))  # class, as a place in `classes`
    times: array[float] = field(default_factory=lambda: array("d"))  # start, end, score
    where: array[int] = field(default_factory=lambda: array("q"))
    in_lines: bool = True

    def add(
        self, video: str, name: str, start: float, end: float, score: float, where: int
    ) -> None:
        self.video.append(self.videos.setdefault(video, len(self.videos)))
        self.named.append(self.classes.setdefault(name, len(self.classes)))
        self.times.extend((start, end, score))
        self.where.append(where)

    def place(self, row: int) -> str:
        """Return what to call a row in an error."""
        if self.in_lines:
            return f"{self.source}, line {self.where[row]}"
        return f"{self.source}, results of {list(self.videos)[self.video[row]]}, number {self.where[row]}"

    def first_of(self, name: str) -> str:
        return self.place(self.named.index(self.classes[name]))

    def detections(self, classes: tuple[str, ...], labels: Sequence[int]) -> Detections:
        times = np.array(self.times, np.float64).reshape(-1, 3)
        start, end, score = times.T
        with np.errstate(invalid="ignore"):
            wrong = ~np.isfinite(times).all(axis=1) | (end < start)
        if wrong.any():
            row = int(np.argmax(wrong))
            shown = f"from {start[row]:g} to {end[row]:g} s with score {score[row]:g}"
            raise FeatxError(
                f"{self.place(row)}: {shown} is no detection: give a start, an end that is not before it, and finite numbers"
            )
        named = np.array(self.named, np.int64)
        return Detections(
            classes=classes,
            videos=tuple(self.videos),
            video=np.array(self.video, np.int64),
            label=np.array(labels, np.int64)[named] if len(named) else named,
            start=start.copy(),
            end=end.copy(),
            score=score.copy(),
        )


def _parse_text(text: str, rows: _Rows) -> None:
    """`<video> <start> <end> <class id> <score>` a line; a line that begins with # is a comment."""
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        try:
            video, start, end, name, score = line.strip().rsplit(None, 4)
            times = float(start), float(end), float(score)
        except ValueError:
            raise FeatxError(
                f"{rows.source}, line {number}: {line.strip()[:80]!r} is not a video, start, end, class id and score: mend it"
            ) from None
        rows.add(video, name, *times, number)


def _parse_table(text: str, rows: _Rows) -> None:
    """A header with video, class, start, end and score, in any order and among others, and a row a detection."""
    try:
        reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
        header = [name.strip() for name in reader.fieldnames or ()]
        missing = [name for name in TABLE if header.count(name) != 1]
        if missing:
            raise FeatxError(
                f"{rows.source} has not one column {missing[0]}: give a first line such as {','.join(TABLE)}"
            )
        reader.fieldnames = header
        for row in reader:
            try:
                times = float(row["start"]), float(row["end"]), float(row["score"])
            except (TypeError, ValueError):
                raise FeatxError(
                    f"{rows.source}, line {reader.line_num}: start, end and score are not all numbers: mend it"
                ) from None
            if not row["video"] or not row["class"] or None in row:
                raise FeatxError(
                    f"{rows.source}, line {reader.line_num}: there is no video, no class, or a cell too many: mend it"
                )
            rows.add(cell_text(row["video"]), cell_text(row["class"]), *times, reader.line_num)
    except csv.Error as error:
        raise FeatxError(
            f"{rows.source} is no table of comma-separated values ({error}): write it again"
        ) from error


def _parse_json(text: str, rows: _Rows) -> None:
    """`{"results": {video: [{"label", "score", "segment": [start, end]}]}}`, "version" and "external_data" beside it."""
    rows.in_lines = False
    try:
        content = json.loads(text, object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise FeatxError(
            f"{rows.source} cannot be read as JSON ({error}): write it again"
        ) from error
    results = content.get("results") if isinstance(content, dict) else None
    if not isinstance(results, dict):
        raise FeatxError(
            f'{rows.source} has no "results" by video: give results as ActivityNet\'s evaluation reads them'
        )
    for video, entries in results.items():
        if not isinstance(entries, list):
            raise FeatxError(
                f"{rows.source}: the results of {video!r} are no list: give a list of detections, or an empty one"
            )
        rows.videos.setdefault(video, len(rows.videos))  # searched, even if nothing was found
        for number, entry in enumerate(entries, start=1):
            rows.add(
                video, *_entry(entry, f"{rows.source}, results of {video}, number {number}"), number
            )


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen = set[str]()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"{twice!r} is there twice")
    return found


def _entry(entry: Any, place: str) -> tuple[str, float, float, float]:
    try:
        name, score, (start, end) = entry["label"], entry["score"], entry["segment"]
        numbers = [start, end, score]
        # Numbers in quotes are numbers to ActivityNet's code, too.
        if not isinstance(name, str) or any(
            isinstance(n, bool) or not isinstance(n, int | float | str) for n in numbers
        ):
            raise TypeError("a label that is no text, or something else than a number")
        return name, float(start), float(end), float(score)
    except (TypeError, KeyError, ValueError, OverflowError) as error:
        raise FeatxError(
            f'{place} is not {{"label": name, "score": number, "segment": [start, end]}} ({error!r}): mend it'
        ) from error


def _by_name(rows: _Rows, annotations: Annotations) -> list[int]:
    known = {name: label for label, name in enumerate(annotations.classes)}
    for name in rows.classes:
        if name not in known:
            raise UsageError(
                f"{rows.first_of(name)}: {annotations.name} has no class {name!r}: give a class's name as it is spelt"
                f" there{nearest(name, known)}"
            )
    return [known[name] for name in rows.classes]


def _by_number(rows: _Rows, annotations: Annotations, class_ids: ClassIds | None) -> list[int]:
    """Return the labels of the class ids that occur: 1 … C, or the official numbers, whichever all of them are of."""
    ids = {
        name: int(number[1])
        for name in rows.classes
        if (number := _CLASS_ID.fullmatch(name)) is not None
    }
    for name in rows.classes:
        if name not in ids:
            raise FeatxError(
                f"{rows.first_of(name)}: class id {name!r} is no whole number: give the classes' numbers"
            )
    consecutive = {
        number: label for label, number in enumerate(range(1, len(annotations.classes) + 1))
    }
    official = {number: label for label, number in enumerate(annotations.numbers or ())}
    if class_ids == "official" and not official:
        raise UsageError(
            f"{annotations.name} has no official class ids: give `class_ids='consecutive'`"
        )
    systems = (
        [official]
        if class_ids == "official"
        else [consecutive]
        if class_ids == "consecutive"
        else [consecutive, official]
    )
    fitting = [system for system in systems if all(number in system for number in ids.values())]
    found = [[system[ids[name]] for name in rows.classes] for system in fitting]
    if not found:
        _no_system(rows, ids, systems, consecutive)
    if any(labels != found[0] for labels in found):
        shown = ", ".join(map(str, sorted(set(ids.values()))))
        raise UsageError(
            f"the class ids in {rows.source} ({shown}) may be the official numbers or count from 1:"
            " say which with `class_ids='official'` or `class_ids='consecutive'`"
        )
    return found[0]


def _no_system(
    rows: _Rows, ids: dict[str, int], systems: list[dict[int, int]], consecutive: dict[int, int]
) -> None:
    nowhere = [name for name in ids if not any(ids[name] in system for system in systems)]
    ranges = [
        f"1 to {len(system)}"
        if system is consecutive
        else f"the official {', '.join(map(str, system))}"
        for system in systems
        if system
    ]
    if nowhere:
        raise UsageError(
            f"{rows.first_of(nowhere[0])}: class id {nowhere[0]} is unknown: give ids of {', or of '.join(ranges)}"
        )
    high = next(name for name in ids if ids[name] not in consecutive)
    low = next(name for name in ids if ids[name] not in systems[-1])
    raise UsageError(
        f"class ids {low} ({rows.first_of(low)}) and {high} ({rows.first_of(high)}) are not of one kind:"
        f" give all of them of {', or of '.join(ranges)}"
    )


# ---------------------------------------------------------------- writing


def write_text(
    found: Detections, path: str | os.PathLike[str], *, numbers: Sequence[int] | None = None
) -> None:
    """Write `<video> <start> <end> <class id> <score>` a line, whole or not at all.

    numbers: the classes' ids, as `Annotations.numbers` has the official ones; 1 … C by default. UsageError for a video's name
    that would not be read back. Videos without detections do not show in this format.
    """
    ids = list(numbers) if numbers is not None else list(range(1, len(found.classes) + 1))
    for video in found.videos:
        kept = video == video.strip() != "" and video[0] != "#"
        if not kept or any(c in video for c in "\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029"):
            raise UsageError(
                f"{video!r} cannot be a video's name in the text format: write JSON or a table"
            )
    lines = [
        f"{found.videos[video]} {start!r} {end!r} {ids[label]} {score!r}\n"
        for video, label, start, end, score in _rows(found)
    ]
    _write(path, "".join(lines))


def write_json(
    found: Detections, path: str | os.PathLike[str], *, version: str = "VERSION 1.3"
) -> None:
    """Write results as ActivityNet's evaluation reads them, whole or not at all; every video has a list, be it empty."""
    results: dict[str, list[dict[str, Any]]] = {video: [] for video in found.videos}
    for video, label, start, end, score in _rows(found):
        results[found.videos[video]].append(
            {"label": found.classes[label], "score": score, "segment": [start, end]}
        )
    content = {
        "version": version,
        "results": results,
        "external_data": {"used": False, "details": ""},
    }
    _write(path, json.dumps(content) + "\n")


def write_table(found: Detections, path: str | os.PathLike[str]) -> None:
    """Write video, class, start, end and score as comma-separated values, whole or not at all."""
    rows = (
        (found.videos[video], found.classes[label], start, end, score)
        for video, label, start, end, score in _rows(found)
    )
    write_csv(path, TABLE, rows)


def _rows(found: Detections) -> list[tuple[int, int, float, float, float]]:
    columns = (found.video, found.label, found.start, found.end, found.score)
    return list(zip(*(column.tolist() for column in columns), strict=True))


def _write(path: str | os.PathLike[str], text: str) -> None:
    target = Path(path)
    with disk_full(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(target, text.encode("utf-8", "surrogateescape"))
