"""Detections written to files: the official text format, ActivityNet's JSON, and a table."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from featx.errors import UsageError
from featx.report import write_csv
from featx.system.files import disk_full, write_atomically
from featx.tasks.localization._types import Detections
from featx.tasks.localization.formats._formats import TABLE


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
