"""Temporal action localization: S-CNN on THUMOS'14 (Shou, Wang and Chang, CVPR 2016; Tran et al. 2017, section 5.3)."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

# Resolved on first use: training imports torch, which detections alone do not need.
_PUBLIC = {
    "check_pictures": "featx.tasks.localization._run_report",
    "detect": "featx.tasks.localization._run",
    "draw_pictures": "featx.tasks.localization._run_report",
    "evaluate_file": "featx.tasks.localization.evaluation._evaluate_file",
    "read_annotations": "featx.datasets.thumos14",
    "run_json": "featx.tasks.localization._run_report",
    "run_text": "featx.tasks.localization._run_report",
    "train_networks": "featx.tasks.localization._train",
}

__all__ = [
    "check_pictures",
    "detect",
    "draw_pictures",
    "evaluate_file",
    "read_annotations",
    "run_json",
    "run_text",
    "train_networks",
]

if TYPE_CHECKING:
    from featx.datasets.thumos14 import read_annotations
    from featx.tasks.localization._run import detect
    from featx.tasks.localization._run_report import (
        check_pictures,
        draw_pictures,
        run_json,
        run_text,
    )
    from featx.tasks.localization._train import train_networks
    from featx.tasks.localization.evaluation._evaluate_file import evaluate_file


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'featx.tasks.localization' has no attribute {name!r}")
    return getattr(importlib.import_module(_PUBLIC[name]), name)
