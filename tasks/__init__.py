"""What is done with clip features: recognition, compactness, pair verification, search, localization.

A task sees feature files and datasets' protocols; videos and models are featx's business.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

# Resolved on first use: scikit-learn and faiss take a second to import.
_PUBLIC = {
    "aslan": "tasks.similarity",
    "compact": "tasks.compactness",
    "detect": "tasks.localization",
    "index": "tasks.retrieval",
    "open_features": "tasks._features",
    "predict": "tasks.recognition",
    "search": "tasks.retrieval",
    "svm": "tasks.recognition",
}

__all__ = ["aslan", "compact", "detect", "index", "open_features", "predict", "search", "svm"]

if TYPE_CHECKING:
    from tasks._features import open_features
    from tasks.compactness import compact
    from tasks.localization import detect
    from tasks.recognition import predict, svm
    from tasks.retrieval import index, search
    from tasks.similarity import aslan


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'tasks' has no attribute {name!r}")
    return getattr(importlib.import_module(_PUBLIC[name]), name)
