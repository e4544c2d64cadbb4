"""What is wrong with an MP4 or QuickTime file that FFmpeg cannot read, where its boxes show it."""

from __future__ import annotations

import os
import struct
from typing import Final

# Boxes that such files begin with.
_FIRST: Final = frozenset({b"ftyp", b"mdat", b"moov", b"free", b"skip", b"wide"})
# Boxes that hold, or precede, content.
_INDEX: Final = frozenset({b"moov", b"moof"})


def problem(path: str) -> str | None:
    """Return why a file has no index that can be read, in words; None where that is not what is wrong."""
    size = os.path.getsize(path)
    found = set[bytes]()
    with open(path, "rb") as file:
        at = 0
        while at + 8 <= size:
            file.seek(at)
            head = file.read(16)
            length, kind = struct.unpack_from(">I4s", head)
            if at == 0 and kind not in _FIRST:
                return None
            if length == 1 and len(head) == 16:
                length = struct.unpack_from(">Q", head, 8)[0]
            found.add(kind)
            if kind == b"moov" and at + length > size:
                return (
                    f"its index (moov) is cut off: it has {size - at} of {length} bytes;"
                    " copy or download it again"
                )
            if length < 8:  # to the end of the file, or no box
                break
            at += length
    if found & _INDEX or b"ftyp" not in found:
        return None
    return (
        "its index (moov) is missing: the file is cut off or its recording was not finished;"
        " copy or download it again"
    )
