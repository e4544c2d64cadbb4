"""What is done with clip features: recognition, compactness, pair verification, search, localization.

A task sees feature files and datasets' protocols; videos and models are featx's business.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from featx.system.extras import need
from featx.system.lazy import lazy

# Resolved on first use: scikit-learn and faiss take a second to import.
_PUBLIC = {
    "LinearSVM": "featx.tasks.estimators",
    "VideoMean": "featx.tasks.estimators",
    "aslan": "featx.tasks.similarity",
    "compact": "featx.tasks.compactness",
    "detect": "featx.tasks.localization",
    "index": "featx.tasks.retrieval",
    "open_features": "featx.tasks.features",
    "predict": "featx.tasks.recognition",
    "search": "featx.tasks.retrieval",
    "svm": "featx.tasks.recognition",
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


_resolved, __dir__ = lazy(__name__, _PUBLIC)


def __getattr__(name: str) -> Any:
    if _PUBLIC.get(name, "").endswith("estimators"):  # they are scikit-learn's, and need it at once
        need("sklearn", "scipy", "threadpoolctl", what=f"{__name__}.{name}")
    return _resolved(name)
