"""Generated videos: real encoded files of moving shapes, a class a motion, so that everything runs offline.

What a scene shows (background, shapes, textures, colours, where and how large) is drawn without
looking at the class, and every motion leaves those distributions as they are: places wrap around
the frame's edges and sizes wrap around their range. One frame therefore tells nothing of the class.
"""

from __future__ import annotations

import math
import os
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from featx.errors import FeatxError, UsageError, nearest

if TYPE_CHECKING:
    from av.container import OutputContainer
    from av.video.stream import VideoStream

Array = NDArray[np.floating[Any]]
Frame = NDArray[np.uint8]


class Pose(NamedTuple):
    """How far a motion has taken a shape from where it was drawn.

    x, y: to the right and down, in frame heights; turn: clockwise, in radians; zoom: in whole ranges of sizes.
    """

    x: float = 0.0
    y: float = 0.0
    turn: float = 0.0
    zoom: float = 0.0


Motion = Callable[[float], Pose]


def _wave(seconds: float, hertz: float) -> float:
    return math.sin(2 * math.pi * hertz * seconds)


def _orbit(seconds: float, hertz: float) -> Pose:
    angle = 2 * math.pi * hertz * seconds
    return Pose(x=0.16 * math.cos(angle), y=0.16 * math.sin(angle))


# Class -> pose after so many seconds. Within the 0.64 s that a Res3D clip spans at 25 fps, each
# covers enough (a fifth of the frame, 70 degrees, a third in size) to be seen at 112 x 112.
MOTIONS: dict[str, Motion] = {
    "move_left": lambda s: Pose(x=-0.35 * s),
    "move_right": lambda s: Pose(x=0.35 * s),
    "move_up": lambda s: Pose(y=-0.35 * s),
    "move_down": lambda s: Pose(y=0.35 * s),
    "rotate_cw": lambda s: Pose(turn=1.9 * s),
    "rotate_ccw": lambda s: Pose(turn=-1.9 * s),
    "grow": lambda s: Pose(zoom=0.35 * s),
    "shrink": lambda s: Pose(zoom=-0.35 * s),
    "oscillate_slow": lambda s: Pose(x=0.16 * _wave(s, 0.6)),
    "oscillate_fast": lambda s: Pose(x=0.16 * _wave(s, 1.8)),
    "orbit_cw": lambda s: _orbit(s, 0.6),
    "orbit_ccw": lambda s: _orbit(s, -0.6),
}

# A shape's outline: how far outside it a point lies, in radii (negative inside), from the point's
# place (x, y) relative to the centre, in radii.
SHAPES: dict[str, Callable[[Array, Array], Array]] = {
    "disc": lambda x, y: np.hypot(x, y) - 1,
    "square": lambda x, y: np.maximum(abs(x), abs(y)) - 0.8,
    "diamond": lambda x, y: (abs(x) * 1.4 + abs(y) * 0.8 - 1) / 1.6,
    "triangle": lambda x, y: np.maximum(y - 0.5, abs(x) * 0.866 - y * 0.5 - 0.5),
    "ring": lambda x, y: abs(np.hypot(x, y) - 0.72) - 0.28,
    "cross": lambda x, y: np.maximum(
        np.minimum(abs(x), abs(y)) - 0.3, np.maximum(abs(x), abs(y)) - 0.95
    ),
    "star": lambda x, y: (np.hypot(x, y) - 0.72 - 0.26 * np.cos(5 * np.arctan2(x, -y))) * 0.7,
}

# A texture: -1..1, the mixture of two colours, from the same (x, y). None looks the same all the
# way round, so that a turning disc is seen to turn.
TEXTURES: dict[str, Callable[[Array, Array], Array]] = {
    "stripes": lambda x, y: np.sin(7 * x + 0.8),
    "checks": lambda x, y: np.sin(5 * x + 0.7) * np.sin(5 * y + 0.4),
    "halves": lambda x, y: np.tanh(6 * x),
    "quarter": lambda x, y: np.tanh(6 * np.minimum(x, y)),
    "shade": lambda x, y: np.clip(0.9 * x + 0.3 * y, -1, 1),
    "waves": lambda x, y: np.sin(6 * x + 1.5 * np.sin(3 * y)),
}

# Radius of the smallest and largest shapes, in frame heights.
SMALLEST, LARGEST = 0.09, 0.36
# Neighbouring files share a background and palette, as the clips of a group do in UCF101, and so
# must stay on the same side of a split.
CLIPS_PER_GROUP = 2


@dataclass(frozen=True)
class Sprite:
    """One moving shape, as it stands at its motion's zero.

    x, y: centre, in frame heights; size: place in the range of sizes, 0..1; angle: radians, clockwise;
    phase: seconds by which its motion is ahead; colors: (2, 3) in 0..255, mixed by the texture.
    """

    shape: str
    texture: str
    colors: Array
    x: float
    y: float
    size: float
    angle: float
    phase: float


@dataclass(frozen=True)
class Scene:
    """What a video shows, whatever moves: background (H, W, 3) in 0..255, the shapes, and how quick they are."""

    background: Array
    sprites: tuple[Sprite, ...]
    tempo: float


def draw_scene(
    size: tuple[int, int], group: np.random.Generator, clip: np.random.Generator
) -> Scene:
    """Draw a scene of (height, width): background and palette from `group`'s chances, the shapes from `clip`'s."""
    height, width = size
    palette = _colors(group, 6, lightest=1.0)
    background = _background(size, group, _colors(group, 3, lightest=0.6))
    sprites = tuple(
        Sprite(
            shape=str(clip.choice(list(SHAPES))),
            texture=str(clip.choice(list(TEXTURES))),
            colors=palette[clip.choice(len(palette), 2, replace=False)],
            x=clip.uniform(0, width / height),
            y=clip.uniform(0, 1),
            size=clip.uniform(0, 1),
            angle=clip.uniform(0, 2 * math.pi),
            phase=clip.uniform(0, 10),
        )
        for _ in range(int(clip.integers(3, 6)))
    )
    return Scene(background, sprites, tempo=clip.uniform(0.85, 1.2))


def render(scene: Scene, motion: Motion, seconds: float) -> Frame:
    """Draw the scene after `seconds` of a motion: (H, W, 3) uint8 RGB, edges smooth below the pixel."""
    canvas = scene.background.copy()
    for sprite in scene.sprites:
        _paint(canvas, sprite, motion(scene.tempo * seconds + sprite.phase))
    return cast(Frame, np.rint(canvas).clip(0, 255).astype(np.uint8))


def frames(
    name: str,
    *,
    count: int,
    fps: float = 25.0,
    size: tuple[int, int] = (240, 320),
    seed: int = 0,
    number: int = 0,
) -> Iterator[Frame]:
    """Yield the frames, (H, W, 3) uint8 RGB, of video `number` of the class `name`; the same ones for the same arguments."""
    motion = _motion(name)
    label = zlib.crc32(name.encode())
    group = np.random.default_rng([seed, label, 0, number // CLIPS_PER_GROUP])
    clip = np.random.default_rng([seed, label, 1, number])
    scene = draw_scene(size, group, clip)
    return (render(scene, motion, k / fps) for k in range(count))


def file_name(name: str, number: int) -> str:
    """Return the file of video `number` of a class, numbered by group and clip as in UCF101."""
    return f"{name}_g{number // CLIPS_PER_GROUP + 1:02d}_c{number % CLIPS_PER_GROUP + 1:02d}.mp4"


def write_videos(
    directory: str | os.PathLike[str],
    *,
    per_class: int | None = None,
    seconds: float | None = None,
    fps: float = 25.0,
    size: tuple[int, int] | None = None,
    classes: Sequence[str] | None = None,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> list[Path]:
    """Write encoded videos of moving shapes, a folder a class, and return their paths in order.

    per_class: videos of each class; None is 4. seconds: of each; None is 4. size: (height, width), both even; None is 240 x 320.
    classes: names of MOTIONS, all by default. progress: called with (frames written, frames in all) at the beginning and
    after each video.
    A file that exists with the same content is left untouched, one with other content is replaced; each appears whole or
    not at all.
    """
    names = list(MOTIONS) if classes is None else list(classes)
    for name in names:
        _motion(name)
    per_class = 4 if per_class is None else per_class
    seconds = 4.0 if seconds is None else seconds
    size = size or (240, 320)
    if per_class < 1:
        raise UsageError(f"videos per class is {per_class}: give 1 or more")
    check_rate_and_size(fps, size)
    count = frame_count(seconds, fps)
    jobs = [(name, number) for name in names for number in range(per_class)]
    paths = []
    if progress is not None:
        progress(0, count * len(jobs))
    for done, (name, number) in enumerate(jobs, start=1):
        path = Path(directory, name, file_name(name, number))
        encode(
            path,
            frames(name, count=count, fps=fps, size=size, seed=seed, number=number),
            fps=fps,
            size=size,
        )
        paths.append(path)
        if progress is not None:
            progress(count * done, count * len(jobs))
    return paths


def write_long_video(
    path: str | os.PathLike[str],
    *,
    minutes: float = 60.0,
    fps: float = 25.0,
    size: tuple[int, int] = (240, 320),
    segment_seconds: float = 20.0,
    seed: int = 0,
) -> int:
    """Write a long video in little time and return its number of frames.

    One segment is encoded, without frames that refer outside it, and its packets are written again
    and again with later timestamps, so that an hour takes seconds.
    """
    import av

    check_rate_and_size(fps, size)
    total = frame_count(minutes * 60, fps)
    length = min(total, frame_count(segment_seconds, fps))
    path = Path(path)
    with _whole_file(path) as temporary, av.open(str(temporary), "w", format="mp4") as container:
        stream = _add_stream(container, fps=fps, size=size)
        names = list(MOTIONS)
        name = names[seed % len(names)]
        shown = frames(name, count=length, fps=fps, size=size, seed=seed)
        segment = [(bytes(p), p.is_keyframe) for p in _packets(stream, shown)]
        if len(segment) != length:
            raise RuntimeError(f"the encoder gave {len(segment)} packets for {length} frames")
        for number in range(total):
            content, is_keyframe = segment[number % length]
            packet = av.Packet(content)
            packet.stream = stream
            packet.time_base = 1 / _rate(fps)
            packet.pts = packet.dts = number
            packet.duration = 1
            packet.is_keyframe = is_keyframe
            container.mux(packet)
    return total


def encode(
    path: str | os.PathLike[str], images: Iterable[Frame], *, fps: float, size: tuple[int, int]
) -> None:
    """Encode (H, W, 3) uint8 RGB frames: to an .avi file as MPEG-4, else to MP4 as H.264, where there is an encoder for it.

    The file appears whole or not at all, and an existing one with the same bytes is left as it is.
    """
    import av

    path = Path(path)
    container_format = "avi" if path.suffix.lower() == ".avi" else "mp4"
    with (
        _whole_file(path) as temporary,
        av.open(str(temporary), "w", format=container_format) as container,
    ):
        stream = _add_stream(container, fps=fps, size=size)
        for packet in _packets(stream, images):
            container.mux(packet)


def _packets(stream: VideoStream, images: Iterable[Frame]) -> Iterator[Any]:
    import av

    for number, image in enumerate(images):
        frame = av.VideoFrame.from_ndarray(image, format="rgb24")
        frame.pts = number
        frame.time_base = 1 / _rate(stream.average_rate or 25)
        yield from stream.encode(frame)
    yield from stream.encode(None)


def _add_stream(container: OutputContainer, *, fps: float, size: tuple[int, int]) -> VideoStream:
    import av

    # UCF101's and HMDB51's clips are MPEG-4 in AVI.
    codec = (
        "libx264"
        if "libx264" in av.codecs_available and container.format.name != "avi"
        else "mpeg4"
    )
    # No trail of a moving shape may tell where it came from, so the quality is high. No B-frames: packets come out in the order
    # of display, one a frame. A fixed number of threads: the bytes must not depend on how many cores there are.
    options = (
        {"preset": "veryfast", "crf": "23", "bf": "0"}
        if codec == "libx264"
        else {"qmin": "2", "qmax": "2", "bf": "0"}
    )
    stream = cast("VideoStream", container.add_stream(codec, rate=_rate(fps), options=options))
    stream.height, stream.width = size
    stream.pix_fmt = "yuv420p"
    stream.time_base = 1 / _rate(fps)
    stream.gop_size = max(1, round(fps))
    stream.codec_context.thread_count = 1
    return stream


@contextmanager
def _whole_file(path: Path) -> Iterator[Path]:
    """Yield a name to write to that becomes `path` when the block ends well and is removed when it does not."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.touch()
        yield temporary
        if not path.is_file() or path.read_bytes() != temporary.read_bytes():
            temporary.replace(path)
    except OSError as error:
        raise FeatxError(
            f"cannot write {path}: {error.strerror}; give a folder with room that you may write to"
        ) from error
    finally:
        with suppress(OSError):
            temporary.unlink()


def _motion(name: str) -> Motion:
    if name not in MOTIONS:
        raise UsageError(f"unknown motion {name!r}{nearest(name, MOTIONS)}")
    return MOTIONS[name]


def _rate(fps: float | Fraction) -> Fraction:
    # 29.97 means 30000/1001 to everyone who says it.
    ntsc = Fraction(round(fps * 1.001) * 1000, 1001)
    if abs(float(ntsc) - float(fps)) < 0.005 and Fraction(fps).denominator != 1:
        return ntsc
    return Fraction(fps).limit_denominator(1000)


def frame_count(seconds: float, fps: float) -> int:
    """Return how many frames so many seconds have, or raise UsageError if it is none."""
    count = round(seconds * _rate(fps)) if math.isfinite(seconds) else 0
    if count < 1:
        raise UsageError(
            f"a video of {seconds} seconds at {fps} frames a second has no frames: make it longer"
        )
    return count


def check_rate_and_size(fps: float, size: tuple[int, int]) -> None:
    """Raise UsageError for a frame rate or a (height, width) that cannot be encoded."""
    if not (math.isfinite(fps) and 1 <= fps <= 240):
        raise UsageError(f"fps is {fps}: give 1 to 240 frames a second")
    if any(side % 2 or not 16 <= side <= 4096 for side in size):
        raise UsageError(
            f"frame size is {size[0]}x{size[1]} (height x width): give even numbers from 16 to 4096"
        )


def _colors(rng: np.random.Generator, count: int, *, lightest: float) -> Array:
    """Draw `count` colours that differ, none lighter than `lightest` (0..1): (count, 3) in 0..255."""
    hues = (rng.uniform() + np.arange(count) / count + rng.uniform(-0.05, 0.05, count))[:, None]
    # A cosine palette: smooth in hue, no table.
    wheel = 0.5 + 0.5 * np.cos(2 * math.pi * (hues - np.array([0, 1 / 3, 2 / 3])))
    light = lightest * rng.uniform(0.4, 1.0, (count, 1))
    strength = rng.uniform(0.35, 1.0, (count, 1))
    mixed = 255 * light * (1 - strength + strength * wheel)
    return cast(Array, rng.permutation(mixed).astype(np.float32))


def _background(size: tuple[int, int], rng: np.random.Generator, colors: Array) -> Array:
    """Draw a still background of clouds and faint stripes: (H, W, 3) in 0..255."""
    height, width = size
    y, x = np.mgrid[0:height, 0:width].astype(np.float32) / height
    clouds = np.zeros(size, np.float32)
    for octave in range(5):
        pitch, turn, phase_x, phase_y = (
            rng.uniform(1.5, 3.0) * 1.7**octave,
            *rng.uniform(0, 2 * math.pi, 3),
        )
        along, across = (
            x * math.cos(turn) + y * math.sin(turn),
            y * math.cos(turn) - x * math.sin(turn),
        )
        clouds += 0.7**octave * np.sin(pitch * along + phase_x) * np.sin(pitch * across + phase_y)
    turn, pitch, depth = rng.uniform(0, math.pi), rng.uniform(15, 60), rng.uniform(0, 0.25)
    weave = depth * np.sin(pitch * (x * math.cos(turn) + y * math.sin(turn)))
    mixture = np.clip(0.5 + 0.35 * clouds + weave, 0, 1)[:, :, None]
    picture = colors[0] * (1 - mixture) + colors[1] * mixture + rng.normal(0, 2.0, size)[:, :, None]
    return cast(Array, picture.astype(np.float32))


def _paint(canvas: Array, sprite: Sprite, pose: Pose) -> None:
    """Lay a sprite over the canvas (H, W, 3), in place; what leaves on one side enters on the other."""
    height, width = canvas.shape[:2]
    place = (sprite.size + pose.zoom) % 1.0
    # The smallest and the largest fade out, so that a size can wrap from one to the other without a jump.
    opacity = min(1.0, place * 14, (1 - place) * 14)
    radius = height * SMALLEST * (LARGEST / SMALLEST) ** place
    center_x, center_y = (sprite.x + pose.x) * height, (sprite.y + pose.y) * height
    reach = 1.15 * radius + 2
    columns = _around(center_x, reach, width)
    rows = _around(center_y, reach, height)
    off_x = ((columns - center_x) / radius).astype(np.float32)[None, :]
    off_y = ((rows - center_y) / radius).astype(np.float32)[:, None]
    angle = sprite.angle + pose.turn
    x = off_x * math.cos(angle) + off_y * math.sin(angle)
    y = off_y * math.cos(angle) - off_x * math.sin(angle)
    cover = opacity * np.clip(0.5 - SHAPES[sprite.shape](x, y) * radius, 0, 1)[:, :, None]
    mixture = (0.5 + 0.5 * TEXTURES[sprite.texture](x, y))[:, :, None]
    color = sprite.colors[0] * (1 - mixture) + sprite.colors[1] * mixture
    where = np.ix_(rows % height, columns % width)
    canvas[where] += cover * (color - canvas[where])


def _around(center: float, reach: float, length: int) -> NDArray[np.int64]:
    """Return the pixels within `reach` of `center` on a line that wraps, each once."""
    first, last = math.floor(center - reach), math.ceil(center + reach)
    if last - first + 1 > length:
        first = math.floor(center - length / 2)
        last = first + length - 1
    return np.arange(first, last + 1)
