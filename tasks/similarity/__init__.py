"""ASLAN's benchmark: do two samples show the same action?"""

from featx.tasks.similarity._folds import Fold, Model, Outcome, cross_validate, fit
from featx.tasks.similarity._measures import FLOOR, MEASURES, Measure, measure_pairs
from featx.tasks.similarity._provide import aslan_features
from featx.tasks.similarity._report import as_text, plot, to_json, write_pairs
from featx.tasks.similarity._run import LAYERS, Similarity, aslan, check_settings

__all__ = [
    "FLOOR",
    "LAYERS",
    "MEASURES",
    "Fold",
    "Measure",
    "Model",
    "Outcome",
    "Similarity",
    "as_text",
    "aslan",
    "aslan_features",
    "check_settings",
    "cross_validate",
    "fit",
    "measure_pairs",
    "plot",
    "to_json",
    "write_pairs",
]
