"""The backbones: importing this package registers every model of every family."""

from featx.models import asymmetric, c3d, hara, semicnn, torchvision_video, tran2017
from featx.models.layers import Backbone, ConvBN
from featx.models.registry import ModelEntry, create_model, list_models, model_entry, register

__all__ = [
    "Backbone",
    "ConvBN",
    "ModelEntry",
    "asymmetric",
    "c3d",
    "create_model",
    "hara",
    "list_models",
    "model_entry",
    "register",
    "semicnn",
    "torchvision_video",
    "tran2017",
]
