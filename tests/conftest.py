"""What tests share: small generated videos, a command line to run, and a way to compare feature files."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import preloaded
import pytest

from featx.store.reader import FeatureStore, same_video

Result = subprocess.CompletedProcess[str]
SHARED = Path(__file__).parents[2] / "shared" / "data"


def encode(
    path: Path,
    n_frames: int,
    *,
    size: tuple[int, int] = (64, 80),
    fps: int = 25,
    codec: str = "libx264",
    pts: list[int] | None = None,
    seed: int = 0,
    options: dict[str, str] | None = None,
) -> Path:
    """Write a video whose frame i has a gray level that grows with i, and some texture. pts: times in 1/1000 s."""
    height, width = size
    texture = np.random.default_rng(seed).integers(0, 60, (height, width, 3))
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=fps)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.options = options or {}
        if pts is not None:
            from fractions import Fraction

            stream.codec_context.time_base = Fraction(1, 1000)
        for i in range(n_frames):
            image = np.clip(texture + level(i), 0, 255).astype(np.uint8)
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            if pts is not None:
                frame.pts, frame.time_base = pts[i], stream.codec_context.time_base
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def level(i: int) -> int:
    """The gray level added to frame i: 7 from one to the next, so that frames can be told apart after encoding."""
    return (i * 7) % 190


def featx(
    *args: object, timeout: float = 120, env: dict[str, str] | None = None, **options: Any
) -> Result:
    """Run the command line as a user would, in a process of its own."""
    whole = {**os.environ, **(env or {})}
    if env is not None and "PYTHONPATH" in env:  # what is imported is the point
        return subprocess.run(
            command(*args), capture_output=True, text=True, timeout=timeout, env=whole, **options
        )
    return preloaded.run([*map(str, args)], timeout=timeout, env=whole, **options)


def command(*args: object) -> list[str]:
    """The command line's argument list."""
    return [sys.executable, "-c", "from featx.cli import main; main()", *map(str, args)]


# 32 x 32 pixels: a tenth of the work, by the same code.
SMALL = ("--weights", "random", "--layers", "pool5", "--crop", "32")


def same_content(a: Path, b: Path) -> None:
    """Assert that two feature files hold the same videos, rows, attributes, settings and failures, to the bit."""
    with FeatureStore(a) as left, FeatureStore(b) as right:
        assert left.ids == right.ids
        assert left.settings == right.settings
        assert left.failures == right.failures
        for video_id in left.ids:
            assert same_video(left[video_id], right[video_id]), video_id


@pytest.fixture(scope="session")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of six short videos in two subfolders: 20, 24, ... 40 frames."""
    folder = tmp_path_factory.mktemp("videos")
    for i in range(6):
        encode(folder / "ab"[i % 2] / f"v{i}.mp4", 20 + 4 * i, seed=i)
    return folder


def needs(*names: str) -> pytest.MarkDecorator:
    """Return the mark of a test that reads real data, below ../shared/data: without them it is skipped, and says which."""
    lacking = [str(SHARED / name) for name in names if not (SHARED / name).exists()]
    return pytest.mark.skipif(
        bool(lacking), reason=f"real data that are no part of the project: no {', '.join(lacking)}"
    )


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of checkpoints in place of the user's, and no proxy before the tests' own server."""
    monkeypatch.setenv("FEATX_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "*")
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def tiny_network() -> Iterator[None]:
    """The tiny network under its name, for a module's tests: `pytestmark = pytest.mark.usefixtures("tiny_network")`."""
    import tiny

    with tiny.registered():
        yield


def assert_one_sentence(error: BaseException) -> None:
    """Check what a user is told of a mistake: one line, no essay."""
    assert "\n" not in str(error)
    assert len(str(error)) < 600
