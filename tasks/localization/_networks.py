"""A folder of S-CNN's three networks, as `featx detect train` leaves it."""

from __future__ import annotations

import csv
import io
import math
import os
from dataclasses import dataclass
from pathlib import Path

from featx.datasets.untrimmed import Annotations, Instance
from featx.errors import FeatxError, UsageError
from featx.system.files import write_atomically

_WEIGHTS, _INSTANCES = "last.safetensors", "instances.csv"
_COLUMNS = ["class", "seconds"]


@dataclass(frozen=True, kw_only=True)
class Networks:
    """The two networks that detect, and the instances that they were trained on, of which priors are counted; None if unknown."""

    proposal: str
    localization: str
    instances: Annotations | None


def _weights_of(folder: str | os.PathLike[str], stage: str) -> Path:
    """Return where a stage's checkpoint lies."""
    return Path(folder) / stage / _WEIGHTS


def files_of(folder: str | os.PathLike[str]) -> list[Path]:
    """Return the files that detection reads of a folder."""
    return [
        *(_weights_of(folder, stage) for stage in ("proposal", "localization")),
        Path(folder) / _INSTANCES,
    ]


def read_networks(folder: str | os.PathLike[str]) -> Networks:
    """Return what detection takes of a folder; UsageError where it has not both networks, FeatxError where it is damaged."""
    proposal, localization, instances = files_of(folder)
    for path in (proposal, localization):
        if not path.is_file():
            raise UsageError(
                f"{os.fspath(folder)} has no trained networks (no {path}): train them with"
                f" `featx detect train {os.fspath(folder)}`, or give their folder with `networks`"
            )
    known = _read(instances) if instances.exists() else None
    return Networks(proposal=str(proposal), localization=str(localization), instances=known)


def write_instances(folder: str | os.PathLike[str], annotations: Annotations) -> None:
    """Write every instance's class and duration, of which the prior of any windows can be counted."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(_COLUMNS)
    # repr, which gives the same float again: instances that are just half or twice as long as a window count.
    rows.writerows(
        [annotations.classes[i.label], repr(i.end - i.start)] for i in annotations.instances
    )
    write_atomically(Path(folder) / _INSTANCES, text.getvalue().encode())


def _read(path: Path) -> Annotations:
    try:
        columns, *rows = list(csv.reader(io.StringIO(path.read_text(encoding="utf-8"))))
        found = [(name, float(seconds)) for name, seconds in rows]
        if columns != _COLUMNS or not all(0 < seconds < math.inf for _, seconds in found):
            raise ValueError(f"columns {columns}")
    except (OSError, ValueError) as error:
        raise FeatxError(
            f"{path} is damaged ({error}): run `featx detect train {path.parent}` again, which writes it"
        ) from error
    classes = tuple(dict.fromkeys(name for name, _ in found))
    places = {name: label for label, name in enumerate(classes)}
    return Annotations(
        name=str(path),
        classes=classes,
        numbers=None,
        instances=tuple(Instance("", places[name], 0.0, seconds) for name, seconds in found),
        ambiguous=(),
        videos=(),
        source=str(path),
    )
