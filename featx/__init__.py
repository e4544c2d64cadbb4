"""Clip features from video with 3D-CNNs, and the benchmarks that run on them.

    import featx

    featx.extract("videos/", "out.h5", model="res3d", weights="random")
    with featx.FeatureStore("out.h5") as store:
        rows = store["a/video"]["pool5"]

Every name below has a help of its own. What is done with features is in `featx.tasks`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from featx.system.lazy import lazy

__version__ = "0.1.0"

# Resolved on first use, so that `import featx` and `featx --help` cost milliseconds, not torch.
_PUBLIC = {
    "ClipOptions": "featx.extraction.settings",
    "ClipSpec": "featx.clips",
    "DatasetRef": "featx.datasets",
    "Extractor": "featx.extraction.extractor",
    "FeatureStore": "featx.store.reader",
    "FeatureWriter": "featx.store.writer",
    "FeatxError": "featx.errors",
    "Hooks": "featx.extraction.settings",
    "Machine": "featx.extraction.settings",
    "Settings": "featx.extraction.settings",
    "TrainHooks": "featx.training",
    "TrainSettings": "featx.training",
    "Transform": "featx.transforms",
    "TransformOptions": "featx.extraction.settings",
    "UsageError": "featx.errors",
    "VideoClips": "featx.extraction.video_clips",
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
    "ClipOptions",
    "ClipSpec",
    "DatasetRef",
    "Extractor",
    "FeatureStore",
    "FeatureWriter",
    "FeatxError",
    "Hooks",
    "Machine",
    "Settings",
    "TrainHooks",
    "TrainSettings",
    "Transform",
    "TransformOptions",
    "UsageError",
    "VideoClips",
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
    from featx.datasets import DatasetRef, load_dataset
    from featx.errors import FeatxError, UsageError
    from featx.evaluation import evaluate
    from featx.extraction.extract import extract
    from featx.extraction.extractor import Extractor
    from featx.extraction.settings import ClipOptions, Hooks, Machine, Settings, TransformOptions
    from featx.extraction.verify import verify
    from featx.extraction.video_clips import VideoClips
    from featx.store.reader import FeatureStore
    from featx.store.writer import FeatureWriter, merge
    from featx.training import TrainHooks, TrainSettings, train
    from featx.transforms import Transform
    from featx.video.reader import open_video
    from featx.weights.checkpoint import load_model
    from featx.weights.networks import create_model, list_models

__getattr__, __dir__ = lazy(__name__, _PUBLIC)
