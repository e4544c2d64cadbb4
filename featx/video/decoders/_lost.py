"""Frames that a damaged file lost without a broken packet to show for it.

A gap in the timestamps alone is no loss: videos of variable frame rate are full of them. It is one
where the file itself has a hole: bytes that are no packet's, or a packet that the container marks.
And a few decoders give a damaged frame without marking it, and only print what was wrong.
"""

from __future__ import annotations

from itertools import pairwise
from statistics import median
from typing import Any, Final

# Containers in which one packet follows another but for headers of a few bytes (measured: 24), each
# with its position.
_CLOSE_PACKED: Final = frozenset({"flv", "matroska,webm"})
_HEADERS = 64
# No frame takes fewer bytes than this, with its header.
_LEAST_FRAME = 8
# Packets before and after a hole that tell how far apart frames are, and where time goes on.
_NEAR = 16
# Packets from one that the container marks on, before one of which it lost others (measured: 2).
_MARKED = 4
# Seconds: a longer gap at a hole is a pause, as between two recordings.
_PAUSE = 10.0

# What decoders print of damage that they do not mark. Other errors they print of sound videos, too.
_DAMAGE: Final = {
    "mjpeg": ("error y=", "error count", "error dc", "bad vlc"),
    "ffv1": ("CRC mismatch", "chain broken"),
    "dvvideo": ("Concealing bitstream errors", "AC EOB marker is absent"),
}


class Holes:
    """Finds holes in a container's packets, and how many frames of one stream fell into them.

    It holds one packet, and the time of every one of that stream.
    """

    def __init__(self, container: Any, stream: Any) -> None:
        # Whether packets of the other streams are to be shown too.
        self.needs_all = container.format.name in _CLOSE_PACKED
        self._number, self._base = stream.index, stream.time_base
        self._before: Any = None
        self._stamps = list[int]()
        self._holes = dict[int, float]()  # before which packet, and how many frames at most

    def packet(self, packet: Any) -> None:
        """Take a packet, in the file's order, of any stream."""
        ours = packet.stream_index == self._number
        if self.needs_all:
            self._bytes(packet)
        elif packet.is_corrupt:
            for later in range(_MARKED):
                self._hole(len(self._stamps) + later, float("inf"))
        if ours:
            # Decoding times go on evenly, but Matroska has none: FFmpeg counts, and skips no hole.
            first, second = packet.dts, packet.pts
            if self.needs_all:
                first, second = second, first
            stamp = second if first is None else first
            if stamp is not None:
                self._stamps.append(stamp)

    def unknown(self) -> None:
        """Take a packet that cannot be shown."""
        self._before = None

    def _bytes(self, packet: Any) -> None:
        before, self._before = self._before, packet
        at = packet.pos
        if before is None or at is None or before.pos is None:
            return
        hole = at - before.pos - before.size
        # Matroska keeps an alpha channel beside the frame, where its bytes are not told.
        if hole > _HEADERS and not before.has_sidedata("matroska_block_additional"):
            self._hole(len(self._stamps), hole // _LEAST_FRAME)

    def _hole(self, place: int, most: float) -> None:
        self._holes[place] = self._holes.get(place, 0) + most

    def frames(self) -> int:
        """Return how many frames were lost, by the time that passes at each hole."""
        lost = 0
        for place, most in self._holes.items():
            before = sorted(set(self._stamps[max(0, place - _NEAR) : place]))
            after = sorted(set(self._stamps[place : place + _NEAR]))
            steps = [b - a for part in (before, after) for a, b in pairwise(part)]
            if not before or not after or not steps or self._base is None:
                continue
            gap = after[0] - before[-1]
            if gap * self._base <= _PAUSE:
                lost += int(min(most, max(0, round(gap / median(steps)) - 1)))
        return lost


def decoded(packet: Any, codec: str) -> tuple[list[Any], bool]:
    """Return the frames that come out for a packet, and whether its decoder printed of damage."""
    words = _DAMAGE.get(codec)
    if words is None:
        return packet.decode(), False
    import av

    level, skipped = av.logging.get_level(), av.logging.get_skip_repeated()
    av.logging.set_level(av.logging.ERROR)
    av.logging.set_skip_repeated(False)
    try:
        with av.logging.Capture(local=True) as lines:
            frames = packet.decode()
    finally:
        av.logging.set_level(level)
        av.logging.set_skip_repeated(skipped)
    return frames, any(word in text for _, _, text in lines for word in words)
