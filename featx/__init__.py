"""featx: clip features from video with 3D-CNNs, and the benchmarks that run on them."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

# Resolved on first use, so that `import featx` and `featx --help` cost milliseconds, not torch.
_PUBLIC = {
    "ClipSpec": "featx.clips",
    "EagerBackend": "featx.extraction.backends.eager",
    "FeatureStore": "featx.store.reader",
    "FeatxError": "featx.errors",
    "Settings": "featx.extraction.settings",
    "TrainSettings": "featx.training",
    "Transform": "featx.transforms",
    "UsageError": "featx.errors",
    "create_model": "featx.weights.networks",
    "evaluate": "featx.evaluation",
    "extract": "featx.extraction.extract",
    "list_models": "featx.weights.networks",
    "load_dataset": "featx.datasets",
    "load_model": "featx.weights.checkpoint",
    "merge": "featx.store.writer",
    "open_video": "featx.video.reader",
    "train": "featx.training",
    "verify": "featx.extraction.verify",
}

__all__ = [
    "ClipSpec",
    "EagerBackend",
    "FeatureStore",
    "FeatxError",
    "Settings",
    "TrainSettings",
    "Transform",
    "UsageError",
]
__all__ += [
    "create_model",
    "evaluate",
    "extract",
    "list_models",
    "load_dataset",
    "load_model",
    "merge",
    "open_video",
    "train",
    "verify",
]

if TYPE_CHECKING:
    from featx.clips import ClipSpec
    from featx.datasets import load_dataset
    from featx.errors import FeatxError, UsageError
    from featx.evaluation import evaluate
    from featx.extraction.backends.eager import EagerBackend
    from featx.extraction.extract import extract
    from featx.extraction.settings import Settings
    from featx.extraction.verify import verify
    from featx.store.reader import FeatureStore
    from featx.store.writer import merge
    from featx.training import TrainSettings, train
    from featx.transforms import Transform
    from featx.video.reader import open_video
    from featx.weights.checkpoint import load_model
    from featx.weights.networks import create_model, list_models


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'featx' has no attribute {name!r}")
    value = getattr(importlib.import_module(_PUBLIC[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_PUBLIC])
