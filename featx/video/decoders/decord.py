"""decord, held against the file's packet index.

decord repeats frames where packets and frames do not match, and hides concealed damage. What it
decodes is compared with the packet index; NotExact says where the two do not agree.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from importlib.metadata import version
from importlib.util import find_spec

import numpy as np
import numpy.typing as npt

from featx.video.decoders import Decoder, OpenOptions, register_decoder
from featx.video.decoders.pyav import (
    Restarts,
    av_errors,
    first_line,
    only_decoding_times,
    open_av,
    packets_of,
    read_info,
    video_stream,
)
from featx.video.reader import Image, NotExact, VideoInfo, VideoReader


class DecordReader(VideoReader):
    """Frames of one video by decord; NotExact where they are not those of the file's packets."""

    def __init__(self, path: str, options: OpenOptions) -> None:
        super().__init__()
        import decord

        self._complaints, self._before = options.complaints, options.complaints()
        self.info, self._index = _packet_index(path, options.max_pixels)
        self.last_duration = 1 / self.info.fps
        height, width = self.info.resized(options.frame_size)
        self._shape = (height, width, 3)
        try:
            self._source = decord.VideoReader(
                path, num_threads=1, width=width, height=height, fault_tol=-1
            )
        except Exception as error:
            raise NotExact(f"decord cannot open it: {first_line(error)}") from error

    def decode(self) -> Iterator[tuple[float, Callable[[], Image]]]:
        for number, time in enumerate(self._index):
            try:
                image = self._source.next().asnumpy()
            except StopIteration:
                raise NotExact(
                    f"decord gave {number} frames where the index has {len(self._index)}"
                ) from None
            except Exception as error:
                raise NotExact(f"decord failed at frame {number}: {first_line(error)}") from error
            # decord takes a row's padded length over its width for the channels: 24 pixels in 96
            # bytes come out as 4.
            if image.shape != self._shape:
                raise NotExact(
                    f"decord gave a frame of shape {image.shape} where {self._shape} was asked for"
                )
            if self._complaints() != self._before:
                raise NotExact(f"the decoder complained at frame {number}")
            yield float(time), partial(_same, image)


def _same(image: Image) -> Image:
    return image


def _packet_index(path: str, max_pixels: int) -> tuple[VideoInfo, npt.NDArray[np.float64]]:
    """Return what the headers say and every packet's time in seconds, sorted; NotExact in doubt."""
    import av

    with av_errors(), open_av(path) as container:
        stream = video_stream(container, max_pixels)
        packets = [p for p in packets_of(container, stream) if p.size or p.pts is not None]
        base = stream.time_base
        if container.format.name == "avi" and stream.codec_context.has_b_frames:
            raise NotExact("AVI with B-frames has no presentation times")
        if any(p.pts is None or p.is_corrupt or p.is_discard or not p.size for p in packets):
            raise NotExact("packets without time or marked corrupt")
        told = [p.pts for p in packets]
        if stream.codec_context.has_b_frames and only_decoding_times(container, told):
            raise NotExact("MXF whose packets have no presentation times")
        restarts = Restarts()
        if any(restarts.packet(packet) for packet in packets):
            raise NotExact("its timestamps start again")
        stamps = np.sort(np.asarray(told, dtype=np.int64))
        if not len(stamps) or np.any(np.diff(stamps) <= 0):
            raise NotExact("packets share their times")
    with av_errors(), open_av(path) as container:
        stream = video_stream(container, max_pixels)
        try:
            frame = next(container.decode(stream))
        except (StopIteration, av.error.FFmpegError) as error:
            raise NotExact("the first frame does not decode") from error
        info = read_info(path, container, stream, frame)
    if info.rotation or info.mirrored:
        raise NotExact("it is rotated or mirrored")
    return info, stamps.astype(np.float64) * float(base)


def _versions() -> dict[str, str]:
    # PyAV's too: it decodes the files that decord hands over.
    return {"pyav": version("av"), "decord": version("decord")}


def _missing() -> str | None:
    # It has no wheels for ARM or macOS.
    if find_spec("decord"):
        return None
    return "decord is not installed: pip install decord, or use `decoder='pyav'`"


register_decoder(
    Decoder(
        name="decord",
        open=DecordReader,
        exact=False,
        resumes=False,
        versions=_versions,
        missing=_missing,
    )
)
