"""Results as plain-text tables and as pictures; accuracies with their intervals."""

from featx.report._accuracy import DRAWS, Accuracy, mean_interval
from featx.report._confusion import class_lines, plot_confusion
from featx.report._features import plot_features
from featx.report._roc import Curve, area_under, mean_curve, plot_roc, roc_curve
from featx.report._table import table, write_csv

__all__ = [
    "DRAWS",
    "Accuracy",
    "Curve",
    "area_under",
    "class_lines",
    "mean_curve",
    "mean_interval",
    "plot_confusion",
    "plot_features",
    "plot_roc",
    "roc_curve",
    "table",
    "write_csv",
]
