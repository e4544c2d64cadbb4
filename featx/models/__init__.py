"""The backbones: importing this package registers every model of every family."""

from featx.models import c3d, resnet3d
from featx.models._layers import Backbone, ConvBN
from featx.models._registry import ModelEntry, create_model, list_models, model_entry, register

__all__ = [
    "Backbone",
    "ConvBN",
    "ModelEntry",
    "c3d",
    "create_model",
    "list_models",
    "model_entry",
    "register",
    "resnet3d",
]
