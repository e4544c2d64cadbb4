"""A zoo of broken and odd files for the tests, all made by code: `make_zoo(directory)`.

Every file is made small and from featx.synthetic.render's frames. What a file must come to is part of its
entry: extracted, with so many frames, of such a size, at such times; or refused, for a reason
that contains such words. `frames` is the number that was encoded or, where that cannot be known
(a damaged file), None.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import av
import numpy as np

from featx.synthetic import render as synth

COUNT = 40
SIZE = (96, 128)
RATE = 25

Expect = Literal["ok", "fail"]
Images = Sequence[np.ndarray]


@dataclass(frozen=True)
class OddVideo:
    """One file of the zoo and what must come of it.

    reason_contains: words of the reason for a refusal, in lower case; any of them separated by "|".
    frames, size (height, width as displayed), times (of presentation, seconds): where they are known.
    discontinuities: how often the timestamps start again; guessed_times: frames without a time of their own.
    rgb: the colour of all pixels of every frame, within 3 of 255.
    damaged: part of the content is lost, so that fewer frames come out than went in or some are counted as damaged.
    """

    name: str
    path: Path
    expect: Expect
    reason_contains: str | None = None
    frames: int | None = None
    note: str = ""
    size: tuple[int, int] | None = None
    times: tuple[float, ...] | None = None
    damaged: bool = False
    discontinuities: int = 0
    guessed_times: int = 0
    rgb: tuple[int, int, int] | None = None


Maker = Callable[[Path], Iterator[OddVideo]]
_MAKERS: list[Maker] = []


def make_zoo(directory: str | os.PathLike[str]) -> list[OddVideo]:
    """Write all the files into `directory` and return what must come of each."""
    root = Path(directory)
    root.mkdir(parents=True, exist_ok=True)
    zoo = [odd for make in _MAKERS for odd in make(root)]
    names = [odd.name for odd in zoo]
    if len(set(names)) != len(names):
        raise ValueError("two animals of the zoo have the same name")
    return zoo


def _maker(make: Maker) -> Maker:
    _MAKERS.append(make)
    return make


# ---------------------------------------------------------------- writing


def pictures(
    count: int = COUNT, size: tuple[int, int] = SIZE, *, name: str = "move_right", seed: int = 0
) -> list[np.ndarray]:
    return list(synth.frames(name, count=count, size=size, seed=seed))


def write(
    path: Path,
    images: Images | None = None,
    *,
    codec: str = "libx264",
    container: str | None = None,
    pix_fmt: str = "yuv420p",
    options: dict[str, str] | None = None,
    muxer: dict[str, str] | None = None,
    pts: Sequence[int] | None = None,
    time_base: Fraction = Fraction(1, RATE),
    audio_seconds: float = 0.0,
    keep: Callable[[int], bool] = lambda number: True,
) -> Path:
    """Encode RGB frames to a file; `pts` in units of `time_base`; `keep` says which packets are written."""
    images = pictures() if images is None else images
    height, width = images[0].shape[:2]
    with av.open(str(path), "w", format=container, options=muxer or {}) as output:
        stream: Any = output.add_stream(codec, rate=RATE, options=options or {})
        stream.width, stream.height, stream.pix_fmt = width, height, pix_fmt
        stream.time_base = stream.codec_context.time_base = time_base
        stream.codec_context.thread_count = 1
        sound = _aac(output) if audio_seconds else None
        numbers = iter(range(10**9))

        def mux(packets: list[Any]) -> None:
            for packet in packets:
                if keep(next(numbers)):
                    output.mux(packet)

        for number, image in enumerate(images):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts = pts[number] if pts is not None else number
            frame.time_base = time_base
            mux(stream.encode(frame))
        mux(stream.encode(None))
        if sound is not None:
            _write_sound(output, sound, audio_seconds)
    return path


def _aac(output: Any) -> Any:
    stream = output.add_stream("aac", rate=44100)
    stream.codec_context.layout = "mono"
    return stream


def _write_sound(output: Any, stream: Any, seconds: float) -> None:
    wave = 0.3 * np.sin(2 * np.pi * 440 * np.arange(int(seconds * 44100)) / 44100).astype(
        np.float32
    )
    for start in range(0, len(wave) - 1023, 1024):
        frame = av.AudioFrame.from_ndarray(
            wave[None, start : start + 1024], format="fltp", layout="mono"
        )
        frame.sample_rate, frame.pts, frame.time_base = 44100, start, Fraction(1, 44100)
        output.mux(stream.encode(frame))
    output.mux(stream.encode(None))


def _times(count: int = COUNT, start: float = 0.0) -> tuple[float, ...]:
    return tuple(start + k / RATE for k in range(count))


def _noise(count: int, seed: int) -> bytes:
    return np.random.default_rng(seed).integers(0, 256, count, dtype=np.uint8).tobytes()


# ---------------------------------------------------------------- taking files apart


def box(content: bytes | bytearray, *names: str) -> tuple[int, int]:
    """Return (start, end) of a nested mp4 box, header included."""
    start, end = -8, len(content)
    for name in names:
        at = start + 8
        while at < end:
            length, kind = struct.unpack_from(">I4s", content, at)
            if kind == name.encode():
                start, end = at, at + length
                break
            at += length
        else:
            raise ValueError(f"no {name} box")
    return start, end


def _patched(source: Path, target: Path, patch: Callable[[bytearray], None]) -> Path:
    content = bytearray(source.read_bytes())
    patch(content)
    target.write_bytes(content)
    return target


def _noisy_middle(content: bytearray, first: int, last: int, *, seed: int) -> None:
    """Overwrite three runs of 60 bytes in the middle third of content[first:last]."""
    for number, at in enumerate(
        np.linspace(first + (last - first) // 3, last - (last - first) // 3, 3).astype(int)
    ):
        content[at : at + 60] = _noise(60, seed + number)


# ---------------------------------------------------------------- nothing in them


@_maker
def _not_video(root: Path) -> Iterator[OddVideo]:
    def refused(name: str, content: bytes, reason: str | None, note: str = "") -> OddVideo:
        path = root / name
        path.write_bytes(content)
        return OddVideo(Path(name).stem, path, "fail", reason, 0, note)

    yield refused("empty.mp4", b"", "empty")
    yield refused("random_bytes.mp4", _noise(50_000, 1), None)
    yield refused("text.mp4", b"This is not a video. " * 400, None)
    yield refused("one_byte.avi", b"R", None)
    yield refused(
        "header_only.mp4", b"\0\0\0\x18ftypisom\0\0\2\0isomiso2", None, "an ftyp box and no more"
    )
    yield refused(
        "playlist_passwd.mp4",
        b"#EXTM3U\n#EXTINF:1,\n/etc/passwd\n#EXT-X-ENDLIST\n",
        None,
        "must not be followed",
    )
    write(root / "beside.ts", container="mpegts")
    playlist = b"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:1.6,\nbeside.ts\n#EXT-X-ENDLIST\n"
    yield refused(
        "playlist_beside.mp4",
        playlist,
        "playlist|not a video",
        "points to a good file; must not be followed",
    )
    script = b"ffconcat version 1.0\nfile 'beside.ts'\n"
    yield refused(
        "concat_beside.mp4",
        script,
        "playlist|not a video",
        "points to a good file; must not be followed",
    )
    yield OddVideo("playlist_target", root / "beside.ts", "ok", frames=COUNT, size=SIZE)

    picture = root / "still_png.mp4"
    with av.open(str(picture), "w", format="image2", options={"update": "1"}) as output:
        stream: Any = output.add_stream("png", rate=1)
        stream.height, stream.width, stream.pix_fmt = *SIZE, "rgb24"
        output.mux(stream.encode(av.VideoFrame.from_ndarray(pictures(1)[0], format="rgb24")))
        output.mux(stream.encode(None))
    yield OddVideo(
        "still_png",
        picture,
        "fail",
        "picture|not a video",
        0,
        "libavformat opens it as a video of one frame",
    )

    zeros = root / "zeros.mp4"
    with zeros.open("wb") as file:
        file.truncate(8 << 20)
    yield OddVideo("zeros", zeros, "fail", None, 0, "8 MiB of zeros, sparse on disk")

    sound = root / "audio_only.mp4"
    with av.open(str(sound), "w", format="mp4") as output:
        _write_sound(output, _aac(output), 1.0)
    yield OddVideo("audio_only", sound, "fail", "no video", 0)

    cover = _mp3_with_cover(picture.read_bytes())
    (root / "audio_with_cover.mp4").write_bytes(cover)
    yield OddVideo(
        "audio_with_cover",
        root / "audio_with_cover.mp4",
        "fail",
        "no video",
        0,
        "mp3; the cover is a picture",
    )


def _mp3_with_cover(png: bytes) -> bytes:
    encoder: Any = av.CodecContext.create("libmp3lame", "w")
    encoder.sample_rate, encoder.layout, encoder.format = 44100, "mono", "fltp"
    encoder.time_base = Fraction(1, 44100)
    sound = b""
    for start in range(0, 1152 * 20, 1152):
        frame = av.AudioFrame.from_ndarray(
            np.zeros((1, 1152), np.float32), format="fltp", layout="mono"
        )
        frame.sample_rate, frame.pts, frame.time_base = 44100, start, Fraction(1, 44100)
        sound += b"".join(bytes(packet) for packet in encoder.encode(frame))
    picture = b"\0image/png\0\x03\0" + png
    body = b"APIC" + struct.pack(">I", len(picture)) + b"\0\0" + picture
    length = bytes(len(body) >> shift & 0x7F for shift in (21, 14, 7, 0))
    return b"ID3\x03\0\0" + length + body + sound


# ---------------------------------------------------------------- cut and damaged


@_maker
def _cut(root: Path) -> Iterator[OddVideo]:
    at_end = write(root / "whole.mp4")
    yield OddVideo(
        "whole",
        at_end,
        "ok",
        frames=COUNT,
        size=SIZE,
        times=_times(),
        note="healthy; index at the end",
    )
    fast = write(root / "faststart.mp4", options={"g": "10"}, muxer={"movflags": "faststart"})
    yield OddVideo(
        "faststart",
        fast,
        "ok",
        frames=COUNT,
        size=SIZE,
        times=_times(),
        note="healthy; index first",
    )
    fragments = write(
        root / "fragments.mp4",
        options={"g": "10", "bf": "0"},
        muxer={"movflags": "frag_keyframe+empty_moov"},
    )
    yield OddVideo(
        "fragments",
        fragments,
        "ok",
        frames=COUNT,
        size=SIZE,
        times=_times(),
        note="no frame count in its header",
    )
    avi = write(root / "mpeg4.avi", codec="mpeg4", options={"qmin": "2", "qmax": "3", "g": "10"})
    yield OddVideo("mpeg4_avi", avi, "ok", frames=COUNT, size=SIZE, times=_times())

    def cut(source: Path, name: str, share: float, expect: Expect, note: str = "") -> OddVideo:
        content = source.read_bytes()
        path = root / name
        path.write_bytes(content[: int(len(content) * share)])
        frames = 0 if expect == "fail" else None
        return OddVideo(
            Path(name).stem,
            path,
            expect,
            None,
            frames,
            note or f"cut at {share:.0%}",
            damaged=expect == "ok",
        )

    yield cut(at_end, "cut_no_index_50.mp4", 0.50, "fail")
    yield cut(at_end, "cut_no_index_95.mp4", 0.95, "fail")
    described = (
        box(fast.read_bytes(), "moov", "trak", "mdia", "minf", "stbl")[0] / fast.stat().st_size
    )
    yield cut(
        fast,
        "cut_in_index.mp4",
        described,
        "fail",
        note="cut where the index would say what codec it is",
    )
    yield cut(fast, "cut_indexed_50.mp4", 0.50, "ok")
    yield cut(fast, "cut_indexed_95.mp4", 0.95, "ok")
    yield cut(fragments, "cut_fragments_60.mp4", 0.60, "ok")
    yield cut(avi, "cut_avi_02.avi", 0.02, "fail")
    yield cut(avi, "cut_avi_70.avi", 0.70, "ok")
    mkv = write(root / "whole_mkv.mkv", codec="libx264", options={"g": "10"})
    yield OddVideo("whole_mkv", mkv, "ok", frames=COUNT, size=SIZE)
    yield cut(mkv, "cut_mkv_50.mkv", 0.50, "ok")

    def empty_mdat(content: bytearray) -> None:
        start, _ = box(content, "mdat")
        content[start : start + 4] = struct.pack(">I", 8)
        del content[start + 8 :]

    path = _patched(fast, root / "no_content.mp4", empty_mdat)
    yield OddVideo(
        "no_content", path, "fail", None, 0, "an index of 40 frames and an mdat of no length"
    )

    with av.open(str(root / "no_samples.mp4"), "w", format="mp4") as output:
        stream: Any = output.add_stream("mpeg4", rate=RATE)
        stream.height, stream.width, stream.pix_fmt = *SIZE, "yuv420p"
        output.start_encoding()
    yield OddVideo(
        "no_samples", root / "no_samples.mp4", "fail", None, 0, "a track without a single frame"
    )


@_maker
def _corrupted(root: Path) -> Iterator[OddVideo]:
    def noisy_mdat(content: bytearray) -> None:
        _noisy_middle(content, *box(content, "mdat"), seed=7)

    h264 = write(root / ".source.mp4", options={"g": "20", "bf": "0"})
    path = _patched(h264, root / "corrupt_h264.mp4", noisy_mdat)
    yield OddVideo(
        "corrupt_h264", path, "ok", note="noise written over parts of the middle", damaged=True
    )

    def noisy_movi(content: bytearray) -> None:
        _noisy_middle(content, content.index(b"movi"), content.index(b"idx1"), seed=8)

    mpeg4 = write(
        root / ".source.avi", codec="mpeg4", options={"qmin": "2", "qmax": "3", "g": "10"}
    )
    path = _patched(mpeg4, root / "corrupt_mpeg4.avi", noisy_movi)
    yield OddVideo(
        "corrupt_mpeg4", path, "ok", note="noise written over parts of the middle", damaged=True
    )

    def all_noise(content: bytearray) -> None:
        start, end = box(content, "mdat")
        content[start + 8 : end] = _noise(end - start - 8, 9)

    path = _patched(h264, root / "corrupt_all.mp4", all_noise)
    yield OddVideo("corrupt_all", path, "fail", None, 0, "a sound index over nothing but noise")

    def zeroed(content: bytearray) -> None:
        start, end = box(content, "mdat")
        middle = (start + end) // 2
        content[middle:end] = bytes(end - middle)

    path = _patched(h264, root / "zeroed_half.mp4", zeroed)
    yield OddVideo(
        "zeroed_half", path, "ok", note="a download's unwritten second half", damaged=True
    )
    h264.unlink()
    mpeg4.unlink()

    path = write(
        root / "no_first_key.mkv", options={"g": "15", "bf": "0"}, keep=lambda number: number != 0
    )
    yield OddVideo(
        "no_first_key",
        path,
        "ok",
        note="the first key frame is gone; the second is frame 15",
        damaged=True,
    )


# ---------------------------------------------------------------- sizes and formats


@_maker
def _sizes(root: Path) -> Iterator[OddVideo]:
    for count, name in ((1, "one_frame"), (2, "two_frames"), (5, "five_frames")):
        path = write(root / f"{name}.mp4", pictures(count))
        yield OddVideo(name, path, "ok", frames=count, size=SIZE, times=_times(count))
    odd = pictures(20, (48, 34))
    odd = [image[:47, :33] for image in odd]
    path = write(root / "odd_33x47_yuv444.mp4", odd, pix_fmt="yuv444p")
    yield OddVideo("odd_33x47_yuv444", path, "ok", frames=20, size=(47, 33))
    path = write(root / "odd_33x47_rgb.mkv", odd, codec="ffv1", pix_fmt="bgr0")
    yield OddVideo("odd_33x47_rgb", path, "ok", frames=20, size=(47, 33))
    path = write(root / "odd_33x47_mpeg4.avi", odd, codec="mpeg4")
    yield OddVideo(
        "odd_33x47_mpeg4",
        path,
        "ok",
        frames=20,
        size=(47, 33),
        note="subsampled colour on an odd size",
    )
    path = write(
        root / "one_pixel.mkv", [image[:1, :1] for image in odd], codec="ffv1", pix_fmt="bgr0"
    )
    yield OddVideo("one_pixel", path, "ok", frames=20, size=(1, 1))
    fast = {"preset": "ultrafast", "crf": "40", "tune": "fastdecode"}
    path = write(root / "uhd_4k.mp4", _flat(3, 2160, 3840), options=fast)
    yield OddVideo("uhd_4k", path, "ok", frames=3, size=(2160, 3840))
    path = write(root / "wide_16384x16.mp4", _flat(5, 16, 16384), options=fast)
    yield OddVideo("wide_16384x16", path, "ok", frames=5, size=(16, 16384))
    path = write(root / "tall_2x4096.mp4", _flat(5, 4096, 2), options=fast)
    yield OddVideo("tall_2x4096", path, "ok", frames=5, size=(4096, 2))

    def inflate(content: bytearray) -> None:
        at = content.index(b"strf") + 8
        struct.pack_into("<ii", content, at + 4, 30_000, 30_000)

    source = write(root / ".source.avi", pictures(5), codec="rawvideo", pix_fmt="yuv420p")
    path = _patched(source, root / "claims_30000x30000.avi", inflate)
    source.unlink()
    yield OddVideo(
        "claims_30000x30000",
        path,
        "fail",
        None,
        0,
        "uncompressed; a header of 900 megapixels over frames of 18 kB",
    )

    # Two sizes in one stream, as a recording of broadcast television has them.
    plain = {"bf": "0"}
    first = write(root / ".first.ts", pictures(20), container="mpegts", options=plain)
    later = [k + 20 for k in range(20)]
    second = write(
        root / ".second.ts", pictures(20, (64, 96)), container="mpegts", options=plain, pts=later
    )
    path = root / "size_changes.ts"
    path.write_bytes(first.read_bytes() + second.read_bytes())
    first.unlink()
    second.unlink()
    yield OddVideo("size_changes", path, "ok", note="20 frames of 96x128, then 20 of 64x96")


def _flat(count: int, height: int, width: int) -> list[np.ndarray]:
    ramp = np.linspace(0, 255, width, dtype=np.uint8)
    return [
        np.broadcast_to(ramp[None, :, None], (height, width, 3)) // np.uint8(1 + k)
        for k in range(count)
    ]


@_maker
def _formats(root: Path) -> Iterator[OddVideo]:
    def made(name: str, note: str = "", *, guessed_times: int = 0, **how: Any) -> OddVideo:
        path = write(root / name, **how)
        stem = Path(name).stem
        return OddVideo(
            stem, path, "ok", frames=COUNT, size=SIZE, note=note, guessed_times=guessed_times
        )

    yield made("ten_bit.mp4", pix_fmt="yuv420p10le")
    yield made("gray.mp4", pix_fmt="gray")
    yield made("full_range.avi", codec="mjpeg", pix_fmt="yuvj420p", note="JPEG's colour range")
    yield made("alpha.mov", codec="qtrle", pix_fmt="argb")
    yield made("vp9.webm", codec="libvpx-vp9", options={"deadline": "realtime", "cpu-used": "8"})
    hidden = {"deadline": "good", "cpu-used": "5", "auto-alt-ref": "1", "lag-in-frames": "16"}
    yield made(
        "vp9_hidden.webm",
        codec="libvpx-vp9",
        options=hidden,
        note="alternate reference frames, which are never shown",
    )
    yield made(
        "hevc.mp4",
        codec="libx265",
        options={"x265-params": "log-level=none", "preset": "ultrafast"},
    )
    yield made(
        "mpeg2.mpg",
        codec="mpeg2video",
        container="mpeg",
        options={"bf": "2", "b": "1000k"},
        note="program stream",
    )
    yield made(
        "mpeg2_ts.ts", codec="mpeg2video", container="mpegts", options={"bf": "2", "b": "1000k"}
    )
    yield made("prores.mov", codec="prores", pix_fmt="yuv422p10le")
    yield made(
        "raw_h264.h264",
        container="h264",
        options={"bf": "0"},
        guessed_times=COUNT,
        note="no container, no timestamps",
    )
    yield made(
        "raw_h264_bframes.h264",
        container="h264",
        options={"bf": "2"},
        guessed_times=COUNT,
        note="no container, no timestamps, reordered",
    )
    yield made(
        "gif.mp4",
        codec="gif",
        container="gif",
        pix_fmt="rgb8",
        note="palette; an animated GIF under a wrong name",
    )
    yield made("wrong_mp4.avi", container="mp4", note="mp4 under a wrong name")
    yield made("wrong_mkv.mp4", container="matroska", note="Matroska under a wrong name")
    yield made("with_audio.mp4", audio_seconds=3.0, note="sound twice as long as the picture")
    yield made(
        "interlaced.mp4", options={"x264-params": "tff=1:keyint=20"}, note="two fields a frame"
    )

    path = root / "two_streams.mp4"
    with av.open(str(path), "w", format="mp4") as output:
        streams: list[Any] = []
        for size in (SIZE, (48, 64)):
            stream: Any = output.add_stream("libx264", rate=RATE)
            stream.height, stream.width, stream.pix_fmt = *size, "yuv420p"
            streams.append((stream, pictures(COUNT, size)))
        for number in range(COUNT):
            for stream, images in streams:
                frame = av.VideoFrame.from_ndarray(images[number], format="rgb24")
                frame.pts, frame.time_base = number, Fraction(1, RATE)
                output.mux(stream.encode(frame))
        for stream, _ in streams:
            output.mux(stream.encode(None))
    yield OddVideo(
        "two_streams",
        path,
        "ok",
        frames=COUNT,
        note="96x128 and 48x64, 40 frames each: either, but one alone",
    )

    for matrix in ORIENTATIONS:
        name = "matrix_" + "_".join(map(str, matrix))
        path = oriented(root / "whole.mp4", root / f"{name}.mp4", matrix)
        size = SIZE if matrix[0] else SIZE[::-1]
        yield OddVideo(name, path, "ok", frames=COUNT, size=size, note="a display matrix")

    path = late_sound(root / "late_sound.flv")
    yield OddVideo("late_sound", path, "ok", frames=30, note="sound begins in the middle")


def late_sound(path: Path) -> Path:
    """Write FLV of 30 frames whose sound begins beyond the 5 MB that FFmpeg reads to find streams."""
    noise = np.random.default_rng(0).integers(0, 256, (320, 320, 3), dtype=np.uint8)
    images = [np.roll(noise, 7 * k, axis=0) for k in range(30)]
    fine = {"qmin": "1", "qmax": "1", "g": "1"}
    write(path, images, codec="flv", container="flv", options=fine)
    sound = path.with_name(".sound.flv")
    with av.open(str(sound), "w", format="flv") as output:
        _write_sound(output, _aac(output), 0.5)
    content = path.read_bytes()
    tags = _flv_tags(content)
    kept = [tag for tag in _flv_tags(sound.read_bytes()) if tag[0] == 8]
    path.write_bytes(content[:13] + b"".join([*tags[:-5], *kept, *tags[-5:]]))
    sound.unlink()
    return path


def _flv_tags(content: bytes) -> list[bytes]:
    tags, at = list[bytes](), 13
    while at < len(content):
        end = at + 15 + int.from_bytes(content[at + 1 : at + 4], "big")
        tags.append(content[at:end])
        at = end
    return tags


# Display matrices (a, b, c, d), each with the corners that ffmpeg 5.1 shows of a frame whose corners are
# red, green | blue, white: left to right, top to bottom.
ORIENTATIONS = {
    (1, 0, 0, 1): "RGBW",
    (-1, 0, 0, 1): "GRWB",
    (1, 0, 0, -1): "BWRG",
    (-1, 0, 0, -1): "WBGR",
    (0, 1, 1, 0): "RBGW",
    (0, 1, -1, 0): "BRWG",
    (0, -1, 1, 0): "GWRB",
    (0, -1, -1, 0): "WGBR",
}


def oriented(source: Path, target: Path, matrix: Sequence[float]) -> Path:
    """Copy an mp4, with the display matrix (a, b, c, d) in it."""
    a, b, c, d = (round(each * (1 << 16)) for each in matrix)

    def patch(content: bytearray) -> None:
        start, _ = box(content, "moov", "trak", "tkhd")
        struct.pack_into(">9i", content, start + 48, a, b, 0, c, d, 0, 0, 0, 1 << 30)

    return _patched(source, target, patch)


# ---------------------------------------------------------------- colours and kinds

COLOUR = (200, 60, 30)
# Shares of red and blue in luma: Rec. ITU-R BT.601, 709 and 2020.
MATRICES = {"smpte170m": (0.299, 0.114), "bt709": (0.2126, 0.0722), "bt2020nc": (0.2627, 0.0593)}


@_maker
def _colours(root: Path) -> Iterator[OddVideo]:
    """Frames of one colour, in the matrices and ranges that files name: what ffmpeg shows is it, within 1."""
    for matrix in MATRICES:
        for full in (False, True):
            for bits in (8, 10):
                name = f"colour_{matrix}_{'full' if full else 'limited'}_{bits}"
                path = _one_colour(root / f"{name}.mp4", matrix, full=full, bits=bits)
                yield OddVideo(name, path, "ok", frames=5, size=(32, 32), rgb=COLOUR)


def _one_colour(path: Path, matrix: str, *, full: bool, bits: int) -> Path:
    red, green, blue = (c / 255 for c in COLOUR)
    kr, kb = MATRICES[matrix]
    y = kr * red + (1 - kr - kb) * green + kb * blue
    chroma = [(blue - y) / (2 - 2 * kb), (red - y) / (2 - 2 * kr)]
    unit = 1 << (bits - 8)
    luma = y * (255 if full else 219) + (0 if full else 16)
    planes = [luma, *(c * (255 if full else 224) + 128 for c in chroma)]
    levels = [round(unit * plane) for plane in planes]
    kind = np.uint8 if bits == 8 else np.uint16
    image = np.full((48, 32), levels[0], kind)
    image[32:40], image[40:] = levels[1], levels[2]
    pix_fmt = "yuv420p" if bits == 8 else "yuv420p10le"
    tags = f"colormatrix={matrix}:fullrange={'on' if full else 'off'}:qp=0"
    with av.open(str(path), "w") as output:
        stream: Any = output.add_stream("libx264", rate=RATE, options={"x264-params": tags})
        stream.width, stream.height, stream.pix_fmt = 32, 32, pix_fmt
        for number in range(5):
            frame = av.VideoFrame.from_ndarray(image, format=pix_fmt)
            frame.pts, frame.time_base = number, Fraction(1, RATE)
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return path


@_maker
def _kinds(root: Path) -> Iterator[OddVideo]:
    """Kinds that other readers are reported to get wrong; numbers by ffmpeg and ffprobe 5.1."""

    def kind(name: str, note: str, **how: Any) -> OddVideo:
        truth = {key: how.pop(key) for key in ("frames", "times", "guessed_times") if key in how}
        path = write(root / name, **how)
        return OddVideo(
            Path(name).stem, path, "ok", note=note, **{"frames": COUNT, "size": SIZE, **truth}
        )

    yield kind(
        "reordered.mxf",
        "FFmpeg takes times of decoding for those of presentation",
        options={"bf": "2"},
        times=_times(),
    )
    yield kind(
        "pictures.mjpeg",
        "JPEG pictures one after the other, without a container",
        codec="mjpeg",
        container="mjpeg",
        pix_fmt="yuvj420p",
        times=_times(),
    )
    delays = [0, 4, 54, 64, 66, 166]
    hundredths = {"images": pictures(6), "pts": delays, "time_base": Fraction(1, 100)}
    seconds = {"frames": 6, "times": tuple(d / 100 for d in delays)}
    yield kind(
        "gif_delays.mp4",
        "an animated GIF with other delays",
        codec="gif",
        container="gif",
        pix_fmt="rgb8",
        **hundredths,
        **seconds,
    )
    yield kind(
        "png_delays.mp4",
        "an animated PNG with other delays",
        codec="apng",
        container="apng",
        pix_fmt="rgb24",
        **hundredths,
        **seconds,
    )
    yield kind(
        "late_start.mp4",
        "an empty edit: the first frame is shown after five seconds",
        options={"bf": "2"},
        pts=_later(5),
        times=_times(start=5),
    )
    yield kind(
        "time_lapse.mp4",
        "a frame a minute",
        pts=[60 * k for k in range(COUNT)],
        time_base=Fraction(1, 1),
        times=tuple(60.0 * k for k in range(COUNT)),
    )
    yield kind(
        "half_empty.avi",
        "H.264 with B-frames, after each of which an empty chunk comes",
        options={"bf": "3"},
        pts=[2 * k for k in range(COUNT)],
        time_base=Fraction(1, 2 * RATE),
        times=_times(),
    )
    yield kind(
        "paused_alpha.webm",
        "an alpha channel beside the frames, and a pause of four seconds",
        codec="libvpx",
        pix_fmt="yuva420p",
        options={"auto-alt-ref": "0"},
        pts=[k + (k > 20) * 100 for k in range(COUNT)],
        times=tuple((k + (k > 20) * 100) / RATE for k in range(COUNT)),
    )
    yield kind(
        "wide_pixels.mp4",
        "pixels twice as wide as high: not stretched",
        options={"x264-params": "sar=2/1"},
        times=_times(),
    )
    fragments = (root / "fragments.mp4").read_bytes()
    path = root / "fragments_twice.mp4"
    path.write_bytes(fragments * 2)
    yield OddVideo(
        "fragments_twice",
        path,
        "ok",
        frames=2 * COUNT - 10,
        size=SIZE,
        discontinuities=1,
        note="fragmented MP4 end to end; FFmpeg and ffprobe skip the second's first fragment",
    )
    plain = {"container": "h264", "options": {"bf": "0"}}
    parts = [
        write(root / f".{n}.h264", pictures(20, size), **plain)
        for n, size in enumerate((SIZE, (64, 96)))
    ]
    path = root / "sizes.h264"
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    for part in parts:
        part.unlink()
    yield OddVideo(
        "sizes",
        path,
        "ok",
        frames=40,
        size=SIZE,
        guessed_times=40,
        note="two sizes one after the other, without a container",
    )


# ---------------------------------------------------------------- time


@_maker
def _time(root: Path) -> Iterator[OddVideo]:
    rng = np.random.default_rng(3)
    uneven = np.cumsum(np.concatenate([[0], rng.integers(15, 200, COUNT - 1)])).tolist()
    base = Fraction(1, 1000)
    path = write(root / "variable_rate.mp4", pts=uneven, time_base=base, options={"bf": "0"})
    times = tuple(t / 1000 for t in uneven)
    yield OddVideo(
        "variable_rate",
        path,
        "ok",
        frames=COUNT,
        size=SIZE,
        times=times,
        note="frames 15 to 200 ms apart",
    )
    path = write(
        root / "variable_rate_bframes.mkv", pts=uneven, time_base=base, options={"bf": "3"}
    )
    yield OddVideo("variable_rate_bframes", path, "ok", frames=COUNT, size=SIZE, times=times)
    pause = [k if k < 20 else k + RATE * 3600 for k in range(COUNT)]
    path = write(root / "hour_gap.mp4", pts=pause, options={"bf": "0"})
    note = "the middle frame stays for an hour"
    yield OddVideo(
        "hour_gap",
        path,
        "ok",
        frames=COUNT,
        size=SIZE,
        times=tuple(p / RATE for p in pause),
        note=note,
    )

    open_gop = {
        "bf": "3",
        "x264-params": "open-gop=1:keyint=12:min-keyint=12:scenecut=0:b-adapt=0:b-pyramid=1",
    }
    path = write(root / "open_gop.mp4", options=open_gop)
    yield OddVideo(
        "open_gop",
        path,
        "ok",
        frames=COUNT,
        size=SIZE,
        times=_times(),
        note="B-frames that refer across key frames",
    )
    path = write(root / "open_gop_ts.ts", container="mpegts", options=open_gop, pts=_later(600))
    yield OddVideo("open_gop_ts", path, "ok", frames=COUNT, size=SIZE, note="starts ten minutes in")
    # Twelve packets are the first GOP; what is left begins with a key frame whose leading B-frames refer to what is gone.
    path = write(
        root / "cut_open_gop.ts",
        container="mpegts",
        options=open_gop,
        keep=lambda number: number >= 12,
    )
    yield OddVideo(
        "cut_open_gop",
        path,
        "ok",
        note="the first GOP is gone; leading B-frames lack their references",
        damaged=True,
    )
    content = (root / "open_gop_ts.ts").read_bytes()
    path = root / "cut_front.ts"
    path.write_bytes(content[len(content) // 3 + 77 :])
    yield OddVideo(
        "cut_front", path, "ok", note="transport stream that begins within a packet", damaged=True
    )
    path = root / "restarts.ts"
    path.write_bytes(content * 2)
    yield OddVideo(
        "restarts",
        path,
        "ok",
        frames=2 * COUNT,
        size=SIZE,
        times=_times(2 * COUNT, 600),
        discontinuities=1,
        note="twice the same, end to end: the clock starts again",
    )
    program = (root / "mpeg2.mpg").read_bytes()
    path = root / "restarts.mpg"
    path.write_bytes(program * 3)
    yield OddVideo(
        "restarts_mpg",
        path,
        "ok",
        frames=3 * COUNT,
        size=SIZE,
        discontinuities=2,
        note="three program streams end to end",
    )
    path = write(
        root / "clock_wraps.ts",
        container="mpegts",
        pts=_later(2**33 / 90_000 - 2.2),
        options={"bf": "0"},
    )
    yield OddVideo(
        "clock_wraps",
        path,
        "ok",
        frames=COUNT,
        size=SIZE,
        note="the 33-bit clock wraps to 0 in the middle",
    )
    path = write(root / "bframes_mpeg4.avi", codec="mpeg4", options={"bf": "2"})
    yield OddVideo(
        "bframes_mpeg4",
        path,
        "ok",
        frames=COUNT,
        size=SIZE,
        note="AVI has no presentation times to reorder by",
    )
    path = write(root / "bframes_h264.avi", options={"bf": "3"})
    yield OddVideo(
        "bframes_h264",
        path,
        "ok",
        frames=COUNT,
        size=SIZE,
        times=_times(),
        note="AVI has no presentation times to reorder by",
    )
    repeated = [k // 2 * 2 for k in range(COUNT)]
    path = _same_times(root / "same_times.mkv", repeated)
    yield OddVideo(
        "same_times",
        path,
        "ok",
        frames=COUNT,
        size=SIZE,
        times=_times(),
        guessed_times=COUNT // 2,
        note="every two frames have the same time",
    )

    def no_time_passes(content: bytearray) -> None:
        start, _ = box(content, "moov", "trak", "mdia", "minf", "stbl", "stts")
        struct.pack_into(">I", content, start + 20, 0)

    plain = write(root / ".source.mp4", options={"bf": "0"})
    path = _patched(plain, root / "zero_durations.mp4", no_time_passes)
    yield OddVideo(
        "zero_durations",
        path,
        "ok",
        frames=COUNT,
        size=SIZE,
        times=_times(),
        guessed_times=COUNT - 1,
        note="every frame lasts 0 by the index",
    )

    def ten_hours(content: bytearray) -> None:
        scale = struct.unpack_from(">I", content, box(content, "moov", "mvhd")[0] + 20)[0]
        struct.pack_into(">I", content, box(content, "moov", "mvhd")[0] + 24, 36_000 * scale)
        struct.pack_into(
            ">I", content, box(content, "moov", "trak", "tkhd")[0] + 28, 36_000 * scale
        )
        start, _ = box(content, "moov", "trak", "mdia", "mdhd")
        struct.pack_into(
            ">I", content, start + 24, 36_000 * struct.unpack_from(">I", content, start + 20)[0]
        )

    path = _patched(plain, root / "claims_ten_hours.mp4", ten_hours)
    yield OddVideo(
        "claims_ten_hours", path, "ok", frames=COUNT, size=SIZE, note="every header says ten hours"
    )

    with_edits = write(root / ".edits.mp4", options={"bf": "2", "g": "100"})

    def hide_ten(content: bytearray) -> None:
        start, _ = box(content, "moov", "trak", "edts", "elst")
        scale = struct.unpack_from(
            ">I", content, box(content, "moov", "trak", "mdia", "mdhd")[0] + 20
        )[0]
        media_time = struct.unpack_from(">i", content, start + 20)[0]
        struct.pack_into(">i", content, start + 20, media_time + 10 * scale // RATE)

    path = _patched(with_edits, root / "edit_list.mp4", hide_ten)
    yield OddVideo(
        "edit_list",
        path,
        "ok",
        frames=COUNT - 10,
        size=SIZE,
        note="an edit list hides the first ten frames",
    )
    plain.unlink()
    with_edits.unlink()


def _later(seconds: float) -> list[int]:
    return [round(seconds * RATE) + k for k in range(COUNT)]


def _same_times(path: Path, pts: Sequence[int]) -> Path:
    """Write a Matroska file, packet by packet, whose frames share their times."""
    with av.open(str(path), "w", format="matroska") as output:
        stream: Any = output.add_stream("libx264", rate=RATE, options={"bf": "0"})
        stream.height, stream.width, stream.pix_fmt = *SIZE, "yuv420p"
        packets = []
        for number, image in enumerate(pictures()):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, RATE)
            packets += stream.encode(frame)
        packets += stream.encode(None)
        for packet, stamp in zip(packets, pts, strict=True):
            packet.pts = packet.dts = stamp
            output.mux(packet)
    return path


# ---------------------------------------------------------------- indexes


@_maker
def _indexes(root: Path) -> Iterator[OddVideo]:
    content = (root / "mpeg4.avi").read_bytes()
    path = root / "no_index.avi"
    path.write_bytes(content[: content.index(b"idx1")])
    yield OddVideo(
        "no_index_avi",
        path,
        "ok",
        frames=COUNT,
        size=SIZE,
        note="idx1 cut away, RIFF length left as it was",
    )
    path = write(root / "no_cues.mkv", muxer={"live": "1"})
    yield OddVideo(
        "no_cues_mkv", path, "ok", frames=COUNT, size=SIZE, note="no cues, no duration, no lengths"
    )

    def lie(content: bytearray) -> None:
        struct.pack_into("<I", content, content.index(b"avih") + 8 + 16, 100_000)
        struct.pack_into("<I", content, content.index(b"strh") + 8 + 32, 100_000)

    path = _patched(root / "mpeg4.avi", root / "claims_100000_frames.avi", lie)
    yield OddVideo(
        "claims_100000_frames",
        path,
        "ok",
        frames=COUNT,
        size=SIZE,
        note="both headers say 100000 frames",
    )

    def few(content: bytearray) -> None:
        struct.pack_into("<I", content, content.index(b"avih") + 8 + 16, 3)
        struct.pack_into("<I", content, content.index(b"strh") + 8 + 32, 3)

    path = _patched(root / "mpeg4.avi", root / "claims_3_frames.avi", few)
    yield OddVideo(
        "claims_3_frames", path, "ok", frames=COUNT, size=SIZE, note="both headers say 3 frames"
    )


# ---------------------------------------------------------------- names and places


@_maker
def _names(root: Path) -> Iterator[OddVideo]:
    content = (root / "whole.mp4").read_bytes()
    names = {
        "name_spaces": "name with  spaces .mp4",
        "name_quotes": 'it\'s a "quoted" `name`.mp4',
        "name_newline": "two\nlines\ttab.mp4",
        "name_unicode": "Tänzerin–跳舞–🎬.mp4",
        "name_decomposed": "a\u0308.mp4",
        "name_shell": "$(touch x); & | * ? #.mp4",
        "name_percent": "frame%03d.mp4",
        "name_colon": "concat:whole.mp4",
        "name_dash": "--help.mp4",
        "name_dots": "v1..2. .mp4",
        "name_long": "n" * 251 + ".mp4",
        "name_upper": "UPPER.MP4",
        "name_not_utf8": os.fsdecode(b"caf\xe9 \xff.mp4"),
    }
    for name, file in names.items():
        path = root / file
        try:
            path.write_bytes(content)
        except OSError:  # file systems that take UTF-8 alone
            continue
        yield OddVideo(name, path, "ok", frames=COUNT, size=SIZE, times=_times())


@_maker
def _places(root: Path) -> Iterator[OddVideo]:
    content = (root / "whole.mp4").read_bytes()
    locked = root / "no_permission.mp4"
    locked.write_bytes(content)
    locked.chmod(0)
    if os.access(locked, os.R_OK):  # the superuser may
        yield OddVideo("no_permission", locked, "ok", frames=COUNT, size=SIZE)
    else:
        yield OddVideo("no_permission", locked, "fail", "permission", 0)
    (root / "dangling.mp4").symlink_to("nowhere.mp4")
    yield OddVideo("dangling", root / "dangling.mp4", "fail", "link|no such file", 0)
    (root / "loop.mp4").symlink_to("loop.mp4")
    yield OddVideo("loop", root / "loop.mp4", "fail", None, 0, "a link to itself")
    (root / "link.mp4").symlink_to("whole.mp4")
    yield OddVideo("link", root / "link.mp4", "ok", frames=COUNT, size=SIZE)
    os.mkfifo(root / "fifo.mp4")
    yield OddVideo(
        "fifo",
        root / "fifo.mp4",
        "fail",
        "pipe|not a file",
        0,
        "opening it to read would wait for ever",
    )
    (root / "folder.mp4").mkdir()
    (root / "folder.mp4" / "inside.mp4").write_bytes(content)
    yield OddVideo(
        "folder",
        root / "folder.mp4" / "inside.mp4",
        "ok",
        frames=COUNT,
        size=SIZE,
        note="in a folder with a suffix",
    )
