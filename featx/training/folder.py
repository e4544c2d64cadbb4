"""A run's folder: what it was asked for, its state, its checkpoints and its curves; no kill can tear any of it.

run.json          the settings; a rerun with others is refused
state.pt          all that continuing takes
last.safetensors  best.safetensors   checkpoints, for `featx extract --weights`
steps.csv         epochs.csv         a row an update, a row an epoch
curves.png        events.out.tfevents.*   the same, to look at (the latter with TensorBoard)
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from featx.errors import FeatxError, UsageError
from featx.system.files import disk_full, lock_folder, opened_to_append, write_atomically
from featx.weights.statefile import read_state

STEPS = ("step", "epoch", "lr", "loss", "top1")
EPOCHS = ("epoch", "step", "train_loss", "train_top1", "val_loss", "val_top1", "val_top5", "lr")


class RunFolder:
    """The folder, locked until `close`; UsageError where another run holds it or it holds something else."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = lock_folder(path, name=str(path))

    def close(self) -> None:
        """Give the lock back."""
        self._lock.close()

    @property
    def last(self) -> Path:
        return self.path / "last.safetensors"

    @property
    def best(self) -> Path:
        return self.path / "best.safetensors"

    def begin(self, settings: Mapping[str, Any]) -> None:
        """Write down what is asked for, or hold it against what an earlier run was; UsageError with what differs."""
        place = self.path / "run.json"
        if not place.exists():
            others = sorted(p.name for p in self.path.iterdir() if p.name != "lock")
            if others:
                raise UsageError(
                    f"{self.path} holds {', '.join(others[:3])} and is no training run: give a new folder"
                )
            with disk_full(self.path):
                write_atomically(place, json.dumps(settings, indent=1).encode())
            return
        try:
            found = json.loads(place.read_text(encoding="utf-8"))
        except ValueError:
            raise FeatxError(f"{place} is damaged: give a new folder") from None
        for torn in self.path.glob("*.tmp"):
            torn.unlink()
        # Digests last: what is of any use to a reader comes before them.
        differing = sorted(
            differences(found, json.loads(json.dumps(settings))),
            key=lambda each: ("list:" in each, each),
        )
        if differing:
            raise UsageError(
                f"{self.path} holds a run with other settings ({'; '.join(differing[:3])}): give the same ones, or a new folder"
            )

    def state(self) -> dict[str, Any] | None:
        """Return the state of the run so far; None where none was written. FeatxError where it is damaged."""
        place = self.path / "state.pt"
        if not place.exists():
            return None
        try:
            found: dict[str, Any] = torch.load(place, map_location="cpu", weights_only=True)
        except Exception as error:
            raise FeatxError(
                f"{place} is damaged ({str(error).splitlines()[0][:100]}): give a new folder"
            ) from error
        return found

    def save(self, state: Mapping[str, Any]) -> None:
        """Write the state so that it is the old one or the new one, whenever the machine stops; the tables' rows before it."""
        with disk_full(self.path):
            for name in ("steps.csv", "epochs.csv"):
                with (self.path / name).open("rb") as file:
                    os.fsync(file.fileno())
            write_atomically(self.path / "state.pt", lambda file: torch.save(dict(state), file))

    def cut(self, name: str, columns: Sequence[str], *, step: int) -> None:
        """Leave out of a table the rows of updates after `step`, which will be made again, and a row that was cut off."""
        rows = [row for row in self.rows(name) if int(row["step"]) <= step]
        with disk_full(self.path):
            write_atomically(
                self.path / name,
                _csv([columns, *([row[c] for c in columns] for row in rows)]).encode(),
            )

    def rows(self, name: str) -> list[dict[str, str]]:
        """Return a table's whole rows."""
        try:
            text = (self.path / name).read_text(encoding="utf-8")
        except FileNotFoundError:
            return []
        whole = text[: text.rfind("\n") + 1]
        return list(csv.DictReader(io.StringIO(whole)))

    def add(self, name: str, rows: Iterable[Sequence[object]]) -> None:
        """Append rows to a table."""
        with disk_full(self.path), opened_to_append(self.path / name) as file:
            file.write(_csv(rows).encode())


def finished(path: Path) -> Path | None:
    """Return the last checkpoint of a run whose updates are all made; None of one that is not there or not at its end.

    FeatxError where the checkpoint is damaged.
    """
    last = path / "last.safetensors"
    if not last.exists():
        return None
    told = read_state(last).described.get("info")
    training = told.get("training") if isinstance(told, dict) else None
    whole = (
        isinstance(training, dict)
        and training.get("updates") is not None
        and training["updates"] == training.get("of")
    )
    return last if whole else None


def _csv(rows: Iterable[Sequence[object]]) -> str:
    text = io.StringIO()
    # repr of a float is the shortest text that gives the same float again.
    csv.writer(text, lineterminator="\n").writerows(
        [[repr(v) if isinstance(v, float) else v for v in row] for row in rows]
    )
    return text.getvalue()


def differences(a: Any, b: Any, path: str = "") -> Iterable[str]:
    """Yield "name: a's value, now b's" for every value that two JSON objects do not share."""
    if isinstance(a, dict) and isinstance(b, dict):
        for key in {**a, **b}:
            yield from differences(a.get(key), b.get(key), f"{path}.{key}" if path else key)
    elif a != b and not (_is_nan(a) and _is_nan(b)):
        yield f"{path}: {a!r}, now {b!r}"


def _is_nan(value: Any) -> bool:
    with contextlib.suppress(TypeError):
        return math.isnan(value)
    return False
