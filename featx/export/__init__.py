"""Clip features in the layouts that public detectors read: ActivityNet's HDF5, ActionFormer, OpenTAD, G-TAD and MMAction2.

`export` writes a folder: `features/` as the detector's loader finds them, annotations that agree with them where some are
given, `featx_export.json` with what was written and from what, and a `README.md` with the configuration to paste.
"""

from featx.export._formats import FORMATS
from featx.export._run import Report, as_text, export, to_json

__all__ = ["FORMATS", "Report", "as_text", "export", "to_json"]
