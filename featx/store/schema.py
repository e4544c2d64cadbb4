"""What the parts of a feature file have to be: attributes, JSON, clips. `featx.store.reader` has the format in words."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from featx.clips import ClipSpec

# Beyond these no video goes, and arithmetic on them stays exact: frames, seconds, frames a second, other whole numbers.
MOST_FRAMES, MOST_SECONDS, MOST_RATE, _MOST = 10**8, 1e12, 1e6, 2**53
# Names that HDF5 takes for something else than a name.
_NO_NAMES = frozenset({"", "."})


def is_text(value: object) -> bool:
    """Return whether a value is text that can be written anywhere: no lone surrogates, no NUL."""
    if not isinstance(value, str) or "\0" in value:
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_whole(value: object, least: float, most: float) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def _is_number(value: object, least: float, most: float) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and least <= value <= most


def _is_count(value: object) -> bool:
    return _is_whole(value, 0, _MOST)


# A video's attributes that features are read by: what each has to be, in words, and whether it is.
ATTRIBUTES: dict[str, tuple[str, Callable[[object], bool]]] = {
    "path": ("text", is_text),
    "frames": (f"a whole number from 1 to {MOST_FRAMES}", lambda v: _is_whole(v, 1, MOST_FRAMES)),
    "fps": (f"a number from 0 to {MOST_RATE:g}", lambda v: _is_number(v, 0, MOST_RATE)),
    "duration_s": (f"a number from 0 to {MOST_SECONDS:g}", lambda v: _is_number(v, 0, MOST_SECONDS)),
    "looped": ("true or false", lambda v: isinstance(v, bool)),
    "complete": ("true or false", lambda v: isinstance(v, bool)),
    **dict.fromkeys(
        (
            "width", "height", "container_frames", "damaged_frames", "bytes", "discontinuities",
            "guessed_times",
        ),
        ("a whole number from 0", _is_count),
    ),
    **dict.fromkeys(("mirrored", "interlaced"), ("true or false", lambda v: isinstance(v, bool))),
    "display_angle": ("a number from 0 to 360", lambda v: _is_number(v, 0, 360)),
    "pixel_aspect": ("a number above 0", lambda v: _is_number(v, 1e-9, 1e9)),
    **dict.fromkeys(("codec", "decoder", "fingerprint", "computed_by"), ("text", is_text)),
}  # fmt: skip
REQUIRED = ("path", "frames", "fps", "duration_s")


def plain(value: Any) -> Any:
    """Return an attribute as h5py gives it as a plain value; ValueError for what is neither text nor numbers."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, list):
        return [plain(each) for each in value]
    if is_text(value) or isinstance(value, bool | int | float):
        return value
    raise ValueError(f"is {type(value).__name__}, neither text nor a number")


def problem_of_attribute(name: str, value: object) -> str:
    """Return what is wrong with a video's attribute; empty if nothing is."""
    if (known := ATTRIBUTES.get(name)) is None or known[1](value):
        return ""
    return f"is {_short(value)}, not {known[0]}"


def problem_of_id(video_id: str) -> str:
    """Return what is wrong with a video's id; empty if nothing is."""
    if not is_text(video_id) or not _NO_NAMES.isdisjoint(video_id.split("/")):
        return f"lists {_short(video_id)}, which cannot be a video's id"
    return ""


def problem_of_frames(frames: npt.NDArray[np.int64]) -> str:
    """Return what is wrong with clips' frames, (T, 2); empty if nothing is."""
    if (frames < 0).any() or (frames[:, 0] >= frames[:, 1]).any() or frames.max() > MOST_FRAMES:
        return f"has a clip that is no [start, end) of frames from 0 to {MOST_FRAMES}"
    return ""


def problem_of_times(times: npt.NDArray[np.float64], spec: ClipSpec) -> str:
    """Return what is wrong with clips' seconds, (T, 2); empty if nothing is."""
    if not np.isfinite(times).all():
        return "has times that are not finite"
    if (times[:, 0] > times[:, 1]).any() or np.abs(times).max() > MOST_SECONDS:
        return "has a clip that ends before it begins, or at no time of a video"
    # Clips of several scales come in the order in which they end, by the clock that they are placed by: two that end with
    # the same frame may stand either way round. `featx verify` looks at each scale.
    if spec.scales == (1,) and (np.diff(times, axis=0) < 0).any():
        return "has times that are not increasing"
    return ""


def problem_of_length(name: str, value: float, clips: int, spec: ClipSpec) -> str:
    """Return why a video's frames or seconds cannot be those of so many clips; empty if they can.

    Whoever lays out a video's frames needs memory for them: what a file claims has to agree with the rows that it has.
    """
    if spec.count is not None:
        return ""
    # Not to the frame, which `featx verify` looks at: a part of a video has fewer clips than its length says.
    most = 100.0 * (clips * spec.stride + spec.span)
    if name == "frames" and spec.fps is None and value >= most:
        return f"is {value}, and {clips} clips are of fewer than {most:g} frames"
    if name == "duration_s" and spec.fps is not None and value * spec.fps > most + 2:
        return f"is {value}, and {clips} clips are of at most {most / spec.fps:g} seconds"
    return ""


def json_of(value: object) -> Any:
    """Return what JSON in an attribute says; ValueError where it is none, or has what cannot be written down again."""
    if not is_text(value):
        raise ValueError("is no text")
    try:
        found = json.loads(str(value), parse_int=_int, parse_float=_float, parse_constant=_constant)
        _check_texts(found)
    except json.JSONDecodeError as error:
        raise ValueError(f"is no JSON ({error})") from None
    except RecursionError:
        raise ValueError("is nested too deep") from None
    return found


def _int(text: str) -> int:
    if len(text) > 16:
        raise ValueError(f"has the number {text[:20]}…, which is out of range")
    return int(text)


def _float(text: str) -> float:
    if not math.isfinite(value := float(text)):
        raise ValueError(f"has the number {text[:20]}, which is out of range")
    return value


def _constant(text: str) -> float:
    raise ValueError(f"has the number {text}")


def _check_texts(value: object) -> None:
    if isinstance(value, str) and not is_text(value):
        raise ValueError("has text that is not Unicode")
    each = [*value, *value.values()] if isinstance(value, Mapping) else value
    for inner in each if isinstance(each, list) else ():
        _check_texts(inner)


def is_rows(kind: np.dtype[Any], shape: tuple[int, ...], clips: int) -> bool:
    """Return whether a dataset has the type and the shape of a layer's rows: (T, D) float32, or float16."""
    right = kind.kind == "f" and kind.itemsize in (2, 4)
    return right and len(shape) == 2 and shape[0] == clips and shape[1] >= 1


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}…"
