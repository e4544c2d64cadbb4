"""The papers' pictures, a function each: what a network learned, what it answers to, what it says and what it costs.

Each draws to `out`, a .png, .svg or .pdf, and returns the numbers behind the picture.
"""

from __future__ import annotations

from featx.show._cost import Cost, cost, plot_cost
from featx.show._exciting import Excitement, Exciting, exciting
from featx.show._features import FeatureMaps, Maps, features
from featx.show._filters import Filters, Scale, filters
from featx.show._predictions import Prediction, Predictions, predictions
from featx.show._words import model_name

__all__ = [
    "Cost",
    "Excitement",
    "Exciting",
    "FeatureMaps",
    "Filters",
    "Maps",
    "Prediction",
    "Predictions",
    "Scale",
]
__all__ += ["cost", "exciting", "features", "filters", "model_name", "plot_cost", "predictions"]
