"""How few numbers a feature needs: accuracy after PCA (Res3D paper, section 5.1, figure 3)."""

from featx.tasks.compactness._arguments import check_request
from featx.tasks.compactness._pca import Pca, fit_pca
from featx.tasks.compactness._picture import plot_curves
from featx.tasks.compactness._result import (
    PAPER,
    CompactResult,
    Curve,
    Point,
    Printed,
    as_text,
    to_json,
    write_csv,
)
from featx.tasks.compactness._run import DIMS, compact

__all__ = [
    "DIMS",
    "PAPER",
    "CompactResult",
    "Curve",
    "Pca",
    "Point",
    "Printed",
    "as_text",
    "check_request",
    "compact",
    "fit_pca",
    "plot_curves",
    "to_json",
    "write_csv",
]
