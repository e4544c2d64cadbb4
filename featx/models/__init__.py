"""The backbones, one family a file: importing this package registers every model.

A new family is a new module in this folder that calls `register`. Nothing else lists it. Another package
names its module under the entry point group `featx.models`.
"""

from featx.models.layers import Backbone, ConvBN
from featx.models.registry import (
    ModelEntry,
    build_model,
    import_families,
    load_plugins,
    model_entry,
    model_names,
    register,
)

__all__ = [
    "Backbone",
    "ConvBN",
    "ModelEntry",
    "build_model",
    "model_entry",
    "model_names",
    "register",
]

import_families(__name__, __path__)
load_plugins()
