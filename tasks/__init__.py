"""What is done with clip features: recognition, compactness, pair verification, search, localization.

A task sees feature files and datasets' protocols; videos and models are featx's business.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from featx.system.extras import need

# Resolved on first use: scikit-learn and faiss take a second to import.
_PUBLIC = {
    "LinearSVM": "estimators",
    "VideoMean": "estimators",
    "aslan": "similarity",
    "compact": "compactness",
    "detect": "localization",
    "index": "retrieval",
    "open_features": "features",
    "predict": "recognition",
    "search": "retrieval",
    "svm": "recognition",
}

__all__ = [
    "LinearSVM",
    "VideoMean",
    "aslan",
    "compact",
    "detect",
    "index",
    "open_features",
    "predict",
    "search",
    "svm",
]

if TYPE_CHECKING:
    from featx.tasks.compactness import compact
    from featx.tasks.estimators import LinearSVM, VideoMean
    from featx.tasks.features import open_features
    from featx.tasks.localization import detect
    from featx.tasks.recognition import predict, svm
    from featx.tasks.retrieval import index, search
    from featx.tasks.similarity import aslan


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if _PUBLIC[name] == "estimators":  # which are scikit-learn's, other than functions that use it
        need("sklearn", "scipy", "threadpoolctl", what=f"{__name__}.{name}")
    value = getattr(importlib.import_module(f"{__name__}.{_PUBLIC[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_PUBLIC])
