"""Action recognition: a linear SVM on video-level features (Res3D paper, section 5.1)."""

from featx.tasks.recognition._classifier import FUSIONS, Classifier
from featx.tasks.recognition._model_file import Model, read_model, write_model
from featx.tasks.recognition._predict import Prediction, predict
from featx.tasks.recognition._report import (
    as_text,
    plot,
    prediction_lines,
    prediction_to_json,
    to_json,
    write_csv,
    write_prediction,
)
from featx.tasks.recognition._result import SplitResult, SvmResult
from featx.tasks.recognition._run import check, svm

__all__ = [
    "FUSIONS",
    "Classifier",
    "Model",
    "Prediction",
    "SplitResult",
    "SvmResult",
    "as_text",
    "check",
    "plot",
    "predict",
    "prediction_lines",
    "prediction_to_json",
    "read_model",
    "svm",
    "to_json",
    "write_csv",
    "write_model",
    "write_prediction",
]
