"""Results as plain-text tables and as pictures; accuracies with their intervals."""

from featx.report._accuracy import DRAWS, Accuracy, mean_interval
from featx.report._confusion import class_lines, plot_confusion
from featx.report._features import plot_features
from featx.report._table import table

__all__ = ["DRAWS", "Accuracy", "class_lines", "mean_interval", "plot_confusion", "plot_features", "table"]
