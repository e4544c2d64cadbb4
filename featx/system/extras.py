"""What a bare install leaves out: packages of the extras, and what is said where one is needed and not there."""

from __future__ import annotations

import importlib.util

from featx.errors import UsageError

# By module: the package that brings it, and featx's extra that brings that. pyproject.toml has the same; a test compares.
EXTRAS = {
    "sklearn": ("scikit-learn", "tasks"),
    "scipy": ("scipy", "tasks"),
    "faiss": ("faiss-cpu", "tasks"),
    "threadpoolctl": ("threadpoolctl", "tasks"),
    "tensorboard": ("tensorboard", "train"),
    "matplotlib": ("matplotlib", "plot"),
    "cv2": ("opencv-contrib-python-headless", "flow"),
}


def installed(module: str) -> bool:
    """Return whether a module can be imported, without importing it."""
    try:
        return importlib.util.find_spec(module) is not None
    except ImportError:
        return False


def need(*modules: str, what: str, otherwise: str = "") -> None:
    """Raise UsageError where modules of one extra are missing, with the command that brings them.

    Args:
        modules: keys of EXTRAS.
        what: what they are needed for, such as "featx svm" or the picture's name.
        otherwise: what to do instead, such as "give `exact=True`".
    """
    if lack := _lack(modules):
        remedy = f"{lack}, or {otherwise}" if otherwise else lack
        raise UsageError(f"{what} needs {remedy}")


def absent(*modules: str, what: str) -> list[str]:
    """Return a note on `what` there will not be, because modules of one extra are missing; none where they are there."""
    return [f"{what}: that needs {lack}"] if (lack := _lack(modules)) else []


def _lack(modules: tuple[str, ...]) -> str:
    """Return the packages that are missing and how to install them, in words; empty where none is."""
    missing = [EXTRAS[module] for module in modules if not installed(module)]
    if not missing:
        return ""
    *most, last = [package for package, _ in missing]
    packages = f"{', '.join(most)} and {last}" if most else last
    return f"{packages}, which {'are' if most else 'is'} not installed: pip install 'featx[{missing[0][1]}]'"
