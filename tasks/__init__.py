"""What is done with clip features: recognition, compactness, pair verification, search, localization.

A task sees feature files and datasets' protocols; videos and models are featx's business.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from featx.system.lazy import lazy

# Resolved on first use: scikit-learn and faiss take a second to import.
_PUBLIC = {
    "aslan": "featx.tasks.similarity",
    "compact": "featx.tasks.compactness",
    "detect": "featx.tasks.localization",
    "index": "featx.tasks.retrieval",
    "open_features": "featx.tasks.features",
    "predict": "featx.tasks.recognition",
    "search": "featx.tasks.retrieval",
    "svm": "featx.tasks.recognition",
}

__all__ = ["aslan", "compact", "detect", "index", "open_features", "predict", "search", "svm"]

if TYPE_CHECKING:
    from featx.tasks.compactness import compact
    from featx.tasks.features import open_features
    from featx.tasks.localization import detect
    from featx.tasks.recognition import predict, svm
    from featx.tasks.retrieval import index, search
    from featx.tasks.similarity import aslan

__getattr__, __dir__ = lazy(__name__, _PUBLIC)
