"""The decoders, and the registry that finds them by name. One decoder is one file of this folder.

The file has the decoder's name and calls `register_decoder` when it is imported. Another package
names such a module in the entry point group `featx.decoders`; a program may also import one itself.
Names are known without importing any of them, so this module is cheap to import.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Final

from featx.errors import UsageError, nearest

if TYPE_CHECKING:
    from featx.video.reader import FrameSize, VideoReader

__all__ = [
    "AUTO",
    "DEFAULT",
    "GROUP",
    "MAX_PIXELS",
    "Decoder",
    "OpenOptions",
    "announce",
    "announced",
    "decoder_named",
    "decoder_names",
    "installed_decoder",
    "register_decoder",
]

# The choice that leaves it to featx.
AUTO: Final = "auto"
# What "auto" means, and what decodes a file anew when another decoder gives it up. It is exact.
DEFAULT: Final = "pyav"
# Pixels of a frame that is decoded. A decoder holds up to 16 frames that later ones refer to, of 1.5
# bytes a pixel or more: 1.6 GB at this size, which is four times 8K television's.
MAX_PIXELS: Final = 8192 * 8192
# Entry points of other packages: name = module.
GROUP: Final = "featx.decoders"

_REGISTERED: dict[str, Decoder] = {}
# Modules of decoders that another process has registered.
_ANNOUNCED: dict[str, str] = {}


@dataclass(frozen=True, kw_only=True)
class OpenOptions:
    """How a decoder opens a file.

    Attributes:
        frame_size: (height, width) -> (height, width) that frames are resized to. None keeps their
            size.
        max_pixels: Most pixels of a frame that is decoded; a video of larger ones is a VideoError.
        in_time_order: Whether every frame must have its true time while the video is iterated.
        complaints: How much the decoder's library has printed so far, in bytes. A library that
            reports damage in no other way is watched by it.
    """

    frame_size: FrameSize | None = None
    max_pixels: int = MAX_PIXELS
    in_time_order: bool = False
    complaints: Callable[[], int] = lambda: 0


def _nothing_missing() -> None:
    return None


@dataclass(frozen=True, kw_only=True)
class Decoder:
    """One way to decode videos.

    Attributes:
        name: Name to choose the decoder by. It is recorded in feature files.
        open: (path, options) -> reader. The path is absolute and leads to a regular, non-empty
            file. It raises VideoError for a file that is no video, and NotExact for one that this
            decoder may get wrong.
        exact: Whether it gives every frame of every file, once and in order. A decoder that is not
            exact may raise NotExact, hang or crash: the default decoder then decodes the file from
            its beginning.
        resumes: Whether an interrupted extraction continues inside a video. That takes frames that
            are equal to the bit every time, so a decoder that is not exact cannot: the other half
            may be the default decoder's.
        versions: () -> the versions to record, by name, without importing the libraries: those of
            all decoders that frames may come from. The names `choice` and `flow` are taken.
        missing: () -> None where the decoder is installed, otherwise one sentence that says how to
            install it.
        module: Module that registers the decoder when imported. Decoding processes, which are
            separate, find the decoder by it. Default: the module in which `open` is defined.
    """

    name: str
    open: Callable[[str, OpenOptions], VideoReader]
    exact: bool
    resumes: bool
    versions: Callable[[], dict[str, str]]
    missing: Callable[[], str | None] = _nothing_missing
    module: str = ""

    def __post_init__(self) -> None:
        if not self.module:
            object.__setattr__(self, "module", self.open.__module__)

    @property
    def fallback(self) -> str:
        """Name of the decoder that begins a file anew: this one if exact, else the default."""
        return self.name if self.exact else DEFAULT


def register_decoder(decoder: Decoder) -> Decoder:
    """Make a decoder known by its name, here and in decoding processes started afterwards.

    Args:
        decoder: The decoder. A module that is imported again replaces its own.

    Returns:
        The same decoder.

    Raises:
        UsageError: The name is not an identifier, is "auto" or is another decoder's, or the decoder
            is to resume without being exact.
    """
    name = decoder.name
    if name == AUTO or not name.replace("-", "_").isidentifier():
        raise UsageError(
            f"decoder name is {name!r}: give letters, digits, - and _, and not {AUTO!r}"
        )
    owner = _REGISTERED[name].module if name in _REGISTERED else _built_in().get(name)
    if owner is not None and owner != decoder.module:
        raise UsageError(f"decoder name is {name!r}, which {owner} has: choose another name")
    if decoder.resumes and not decoder.exact:
        raise UsageError(f"decoder {name!r} resumes and is not exact: set resumes to False")
    _REGISTERED[name] = decoder
    return decoder


def decoder_names() -> tuple[str, ...]:
    """Return the names of all decoders, the default one first, without importing any.

    Returns:
        Names of the files of this folder, of entry points, and of decoders registered in this
        process.
    """
    others = {*_built_in(), *_plugins(), *_ANNOUNCED, *_REGISTERED} - {DEFAULT}
    return (DEFAULT, *sorted(others))


def decoder_named(name: str) -> Decoder:
    """Return a decoder by its name, importing its module if need be.

    Args:
        name: One of `decoder_names()`, or "auto" for the default decoder.

    Returns:
        The decoder, which may lack its library (see `installed_decoder`).

    Raises:
        UsageError: No decoder has this name, or its module cannot be imported or does not register
            it.
    """
    if name == AUTO:
        name = DEFAULT
    if name not in _REGISTERED:
        module = _built_in().get(name) or _ANNOUNCED.get(name) or _plugins().get(name)
        if module is None:
            known = (AUTO, *decoder_names())
            raise UsageError(f"unknown decoder {name!r}{nearest(name, known)}")
        _load(name, module)
    return _REGISTERED[name]


def installed_decoder(name: str, *, in_processes: bool = False) -> Decoder:
    """Return a decoder that can be used here.

    Args:
        name: As for `decoder_named`.
        in_processes: Whether it must work in decoding processes too.

    Returns:
        The decoder.

    Raises:
        UsageError: As `decoder_named` does, or the decoder is not installed, or decoding processes
            cannot import it.
    """
    decoder = decoder_named(name)
    if (remedy := decoder.missing()) is not None:
        raise UsageError(remedy)
    if in_processes and decoder.module == "__main__":
        raise UsageError(
            f"decoder {decoder.name!r} is defined in __main__, which decoding processes cannot"
            " import: move it to a module of its own"
        )
    return decoder


def announced() -> dict[str, str]:
    """Return the module of every decoder registered here, by name, to `announce` elsewhere."""
    return {decoder.name: decoder.module for decoder in _REGISTERED.values()}


def announce(modules: Mapping[str, str]) -> None:
    """Make decoders of another process known here; a module is imported when asked for.

    Args:
        modules: What `announced` gave there.
    """
    _ANNOUNCED.update(modules)


def _built_in() -> dict[str, str]:
    names = (found.name for found in pkgutil.iter_modules(__path__))
    return {name: f"{__name__}.{name}" for name in names if not name.startswith("_")}


def _plugins() -> dict[str, str]:
    return {point.name: point.module for point in entry_points(group=GROUP)}


def _load(name: str, module: str) -> None:
    try:
        import_module(module)
    except Exception as error:
        raise UsageError(
            f"decoder {name!r} does not load: {module}: {type(error).__name__}: {error}"
        ) from error
    if name not in _REGISTERED:
        raise UsageError(f"decoder {name!r} does not load: {module} does not register it")
