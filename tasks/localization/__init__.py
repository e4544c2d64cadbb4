"""Temporal action localization: S-CNN on THUMOS'14 (Shou, Wang and Chang, CVPR 2016; Tran et al. 2017, section 5.3)."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

# Resolved on first use: training imports torch, which detections alone do not need.
_PUBLIC = {
    "ClassIds": "_formats",
    "FileEvaluation": "_detections_file",
    "Matching": "_training_sets",
    "NetworkSettings": "_train",
    "NetworksReport": "_train",
    "Run": "_detect",
    "Samples": "_training_sets",
    "Stage": "_training_sets",
    "check_pictures": "_report",
    "detect": "_detect",
    "draw_pictures": "_report",
    "evaluate_file": "_detections_file",
    "file_json": "_report",
    "file_text": "_report",
    "networks_json": "_train",
    "plot_curves": "_curves",
    "run_json": "_report",
    "run_text": "_report",
    "show_file": "_detections_file",
    "train_networks": "_train",
}

__all__ = [
    "ClassIds",
    "FileEvaluation",
    "Matching",
    "NetworkSettings",
    "NetworksReport",
    "Run",
    "Samples",
    "Stage",
    "check_pictures",
    "detect",
    "draw_pictures",
    "evaluate_file",
    "file_json",
    "file_text",
    "networks_json",
    "plot_curves",
    "run_json",
    "run_text",
    "show_file",
    "train_networks",
]

if TYPE_CHECKING:
    from featx.tasks.localization._curves import plot_curves
    from featx.tasks.localization._detect import Run, detect
    from featx.tasks.localization._detections_file import FileEvaluation, evaluate_file, show_file
    from featx.tasks.localization._formats import ClassIds
    from featx.tasks.localization._report import (
        check_pictures,
        draw_pictures,
        file_json,
        file_text,
        run_json,
        run_text,
    )
    from featx.tasks.localization._train import (
        NetworkSettings,
        NetworksReport,
        networks_json,
        train_networks,
    )
    from featx.tasks.localization._training_sets import Matching, Samples, Stage


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_PUBLIC[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_PUBLIC])
