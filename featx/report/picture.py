"""Pictures as files: whole or not there, the same every time, whatever their texts hold."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from featx.errors import UsageError
from featx.system.extras import need
from featx.system.files import check_target, disk_full, write_atomically

if TYPE_CHECKING:
    from matplotlib.figure import Figure

KINDS = ("png", "svg", "pdf")


def picture_kind(path: str | os.PathLike[str], *, kinds: Sequence[str] = KINDS) -> str:
    """Return the format that the path's suffix names; UsageError for another one, or where nothing can be drawn."""
    kind = Path(path).suffix.lower().removeprefix(".")
    if kind not in kinds:
        *most, last = [f".{k}" for k in kinds]
        raise UsageError(
            f"cannot draw to {os.fspath(path)!r}: give a name that ends in {', '.join(most)} or {last}"
        )
    need("matplotlib", what=f"drawing {os.fspath(path)}")
    return kind


def check_picture(path: str | os.PathLike[str], *, kinds: Sequence[str] = KINDS) -> str:
    """Return the format that the path's suffix names; UsageError for another one, or where no file can be written."""
    kind = picture_kind(path, kinds=kinds)
    check_target(Path(os.path.realpath(path)), example=f"picture.{kinds[0]}")
    return kind


def drawable(text: str, *, most: int | None = None) -> str:
    """Replace what the font has no glyph for, and what would break the line; of more than `most` characters keep the last."""
    from matplotlib.font_manager import FontProperties, findfont
    from matplotlib.ft2font import FT2Font

    known = FT2Font(findfont(FontProperties())).get_charmap()
    text = "".join(c if ord(c) in known and c.isprintable() else "?" for c in text)
    return text if most is None or len(text) <= most else "…" + text[-(most - 1) :]


def save_picture(figure: Figure, path: str | os.PathLike[str], kind: str) -> None:
    """Write a figure in the format `kind`; the folder is made where it is missing."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    FigureCanvasAgg(figure)
    # Without dates and versions, the same numbers give the same file.
    anonymous: dict[str, dict[str, Any]] = {
        "png": {"Software": None},
        "svg": {"Date": None, "Creator": None},
        "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
    }
    content = io.BytesIO()
    with rc_context({"svg.hashsalt": "featx"}):
        figure.savefig(content, format=kind, metadata=anonymous[kind])
    write_picture(path, content.getvalue())


def save_animation(
    figures: Sequence[Figure], path: str | os.PathLike[str], *, milliseconds: int
) -> None:
    """Write figures of one size as an endless GIF, each shown for `milliseconds`."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image

    images = []
    for figure in figures:
        canvas = FigureCanvasAgg(figure)
        canvas.draw()  # type: ignore[no-untyped-call]
        width, height = canvas.get_width_height()
        pixels = bytes(canvas.buffer_rgba())  # type: ignore[no-untyped-call]
        images.append(Image.frombuffer("RGBA", (width, height), pixels).convert("RGB"))
    content = io.BytesIO()
    images[0].save(
        content, "GIF", save_all=True, append_images=images[1:], duration=milliseconds, loop=0
    )
    write_picture(path, content.getvalue())


def write_picture(path: str | os.PathLike[str], content: bytes) -> None:
    """Write a picture's bytes, whole or not at all."""
    target = Path(path)
    with disk_full(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(target, content)
