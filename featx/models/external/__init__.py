"""Networks that featx has not made: a module of the user's."""

from featx.models.external.module import about, evaluating_copy, has_path

__all__ = ["about", "evaluating_copy", "has_path"]
