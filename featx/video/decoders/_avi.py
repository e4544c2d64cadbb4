"""When the frames of an AVI are shown, which has no times: every chunk lasts one step of the stream.

A chunk's number is its time, and an empty chunk only makes time pass. FFmpeg counts the chunks that
it reads, so that all frames after a damaged part come too early; the index at the file's end knows
better. And it guesses when a reordered frame is shown, from the chunk it is decoded from. For H.264
and HEVC that is a step late or more: there the frame shown as the n-th is shown at the n-th chunk's
time.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any, Final

# Codecs whose frames FFmpeg gives times that are none: the chunk's, of a frame shown at another's.
REORDERED: Final = frozenset({"h264", "hevc"})
# Bytes of a chunk's header, which the index points to and a packet's position does not.
_HEADER: Final = 8
# Frames that H.264 and HEVC hold back at most: what does not come out after so many more never does.
_HELD: Final = 16


Entries = list[tuple[int, int]]


def entries(container: Any, stream: Any) -> Entries:
    """Return (position, number) of each chunk with content in an AVI's index; of other files nothing.

    Older versions of PyAV do not tell; times then are as FFmpeg counts.
    """
    if container.format.name != "avi":
        return []
    return [(e.pos, e.timestamp) for e in getattr(stream, "index_entries", ())]


def steps(index: Entries) -> int:
    """Return how many chunks a frame lasts, at the least: one, and more where empty ones follow each."""
    return min((b - a for (_, a), (_, b) in pairwise(index)), default=1)


def claimed_frames(chunks: int, codec: str, index: Entries) -> int:
    """Return how many of the chunks that an AVI's header counts hold a frame.

    An empty chunk here and there is usual, and is counted as the header does: MPEG-4's encoders
    write one at the end.
    """
    if not index or (codec not in REORDERED and steps(index) == 1):
        return chunks
    end = index[-1][1] + 1
    after = chunks - end
    empty = end - len(index) + (after if 0 < after < steps(index) else 0)
    return max(0, chunks - empty)


def at_their_times(
    packets: Iterator[Any], codec: str, index: Entries, missing: Callable[[int], None]
) -> Iterator[Any]:
    """Yield an AVI's packets with their times put right by its index.

    missing: called with the time of each chunk that the index has and the file has not.
    """
    decoding_order = codec in REORDERED
    following, shift = 0, 0
    for packet in packets:
        if packet.pos is not None and packet.dts is not None:
            at = bisect_left(index, (packet.pos - _HEADER,), lo=following)
            if at < len(index) and index[at][0] == packet.pos - _HEADER:
                for _, number in index[following:at]:
                    missing(number)
                following, shift = at + 1, index[at][1] - packet.dts
        if shift:
            packet.pts = None if packet.pts is None else packet.pts + shift
            packet.dts = None if packet.dts is None else packet.dts + shift
        if decoding_order:
            packet.pts = packet.dts
        yield packet


class ShownTimes:
    """Times at which reordered frames are shown, from those at which they are decoded.

    A chunk that gave no frame keeps its time, so that the frames after it are not shown too early.
    """

    def __init__(self) -> None:
        self._times: list[int] = []
        self._number: dict[int, int] = {}  # of chunks that may still give a frame, by time
        self._lost: list[int] = []
        self._frames = 0
        self._place = -1
        self._latest = -1

    def decoded(self, time: int | None) -> None:
        """Take a chunk's time before it is decoded."""
        if time is not None:
            self._number[time] = len(self._times)
            self._times.append(time)

    def lost(self, time: int | None) -> None:
        """Take the time of a chunk of which no frame will come."""
        if time is not None:
            self._number.pop(time, None)
            insort(self._lost, time)

    def frame(self, time: int | None) -> int | None:
        """Return when a frame is shown, which was decoded at `time`; they come as they are shown."""
        if time is None or not self._times:
            return time
        number = self._number.pop(time, None)
        if number is not None:
            gone = [t for t, n in self._number.items() if n < number - _HELD]
            for late in gone:
                self.lost(late)
        elif time in self._lost:
            self._lost.remove(time)  # it could not be decoded as a whole, and came out yet
        self._latest = max(self._latest, time)
        place = self._frames + bisect_left(self._lost, self._latest)
        self._frames += 1
        self._place = min(max(place, self._place + 1), len(self._times) - 1)
        return self._times[self._place]
