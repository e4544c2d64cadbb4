"""The registry of decoders; and decoders that it does not come with, from the registry to the feature file."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from conftest import SMALL, encode, featx
from told import telling

import featx as api
from featx.clips import ClipSpec
from featx.errors import UsageError
from featx.extraction.extract import OtherSettings, extract
from featx.extraction.prepare import prepare
from featx.extraction.settings import Settings, compose
from featx.extraction.verify import verify
from featx.store.info import as_text, summarise
from featx.store.journal import Journal, Origin
from featx.store.reader import FeatureStore
from featx.transforms import Transform
from featx.video import decoders
from featx.video.decoders import (
    AUTO,
    DEFAULT,
    Decoder,
    announced,
    decoder_named,
    decoder_names,
    installed_decoder,
    register_decoder,
)
from featx.video.pool import ClipArrived, Pool
from featx.video.reader import NotExact, VideoReader, open_video
from featx.video.source import find_videos
from featx.video.worker import DecodeSettings, Done, Failed, Job

HELPERS = Path(__file__).parents[1] / "helpers"
SETTINGS = compose("res3d", weights="random", layers=["pool5"], workers=2, crop=32)
TINY = Transform(resize=(20, 24), crop=16, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))


def nothing(path: str, options: object) -> VideoReader:
    raise NotImplementedError


PLAIN = Decoder(name="plain", open=nothing, exact=True, resumes=False, versions=lambda: {})


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test registers is gone after it."""
    monkeypatch.setattr(decoders, "_REGISTERED", dict(decoders._REGISTERED))


@pytest.fixture
def toys(registry: None) -> ModuleType:
    import toy_decoders

    return importlib.reload(toy_decoders)  # imported again, it registers them again


# The decoders that featx has.


def test_auto_is_the_default_decoder_which_is_exact_and_comes_first() -> None:
    assert decoder_named(AUTO) is decoder_named(DEFAULT)
    assert decoder_named(DEFAULT).exact
    assert decoder_names()[0] == DEFAULT
    assert AUTO not in decoder_names()


@pytest.mark.parametrize("name", decoder_names())
def test_a_decoder_keeps_the_registrys_rules(name: str) -> None:
    decoder = decoder_named(name)
    assert decoder.name == name
    assert decoder.module == f"featx.video.decoders.{name}"
    assert decoder.fallback == (name if decoder.exact else DEFAULT)
    assert decoder.exact or not decoder.resumes
    if decoder.missing() is None:
        recorded = decoder.versions()
        assert {"choice", "flow"}.isdisjoint(recorded)
        # What decodes the files that it hands over is recorded too.
        assert decoder_named(decoder.fallback).versions().items() <= recorded.items()


def test_versions_are_recorded_under_the_names_that_older_files_have() -> None:
    assert list(decoder_named("pyav").versions().items()) == [("pyav", version("av"))]
    if decoder_named("decord").missing() is None:
        recorded = list(decoder_named("decord").versions().items())
        assert recorded == [("pyav", version("av")), ("decord", version("decord"))]


def test_names_are_known_without_importing_a_decoder() -> None:
    script = """
import sys
from featx.video.decoders import decoder_names
assert {"pyav", "decord"} <= set(decoder_names())
ours = {f"featx.video.decoders.{name}" for name in decoder_names()}
print(*({"numpy", "av", "decord", "torch", *ours} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.returncode, done.stdout.split()) == (0, [])


# Registration.


@pytest.mark.usefixtures("registry")
@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"name": "auto"}, "auto"),
        ({"name": "a/b"}, "a/b"),
        ({"name": ""}, "''"),
        ({"name": "pyav"}, "featx.video.decoders.pyav"),
        ({"name": "taken"}, "elsewhere"),
        ({"exact": False, "resumes": True}, "plain"),
    ],
)
def test_a_decoder_that_cannot_be_registered_is_refused(changed: dict, named: str) -> None:
    register_decoder(replace(PLAIN, name="taken", module="elsewhere"))
    before = announced()
    with pytest.raises(UsageError, match=named):
        register_decoder(replace(PLAIN, **changed))
    assert announced() == before


@pytest.mark.usefixtures("registry")
def test_a_module_that_is_run_again_replaces_its_decoder() -> None:
    register_decoder(PLAIN)
    newer = register_decoder(replace(PLAIN, resumes=True))
    assert decoder_named("plain") is newer
    assert "plain" in decoder_names()


def test_an_unknown_decoder_is_refused_with_the_nearest_names(tmp_path: Path) -> None:
    path = encode(tmp_path / "a.mp4", 8)
    for refused in (
        lambda: decoder_named("pyva"),
        lambda: open_video(path, decoder="pyva"),
        lambda: prepare(_by("pyva")),
    ):
        with pytest.raises(UsageError, match=telling("'pyva'", "pyav")):
            refused()


@pytest.mark.usefixtures("registry")
def test_a_decoder_that_is_not_installed_says_how_to_install_it(tmp_path: Path) -> None:
    path = encode(tmp_path / "a.mp4", 8)
    register_decoder(replace(PLAIN, missing=lambda: "plain is not installed: pip install plain"))
    assert decoder_named("plain").name == "plain"
    for refused in (
        lambda: open_video(path, decoder="plain"),
        lambda: prepare(_by("plain")),
    ):
        with pytest.raises(UsageError, match="pip install plain"):
            refused()


@pytest.mark.usefixtures("registry")
def test_a_decoder_that_processes_cannot_import_is_refused_before_any_work(tmp_path: Path) -> None:
    register_decoder(replace(PLAIN, module="__main__"))
    assert installed_decoder("plain").name == "plain"
    with pytest.raises(UsageError, match="__main__"):
        extract([encode(tmp_path / "v" / "a.mp4", 8)], tmp_path / "o.h5", settings=_by("plain"))
    assert [p.name for p in tmp_path.iterdir()] == ["v"]


# A decoder from outside, in the decoding processes too.


def _by(decoder: str) -> Settings:
    return SETTINGS.changed(decoder=decoder)


def _pair(folder: Path, n_frames: int) -> tuple[Path, Path]:
    """Return a video, and a stack of its frames as PyAV decodes and resizes them."""
    video = encode(folder / "video" / "a.mp4", n_frames)
    size = prepare(SETTINGS).decode.transform.frame_size
    stack = folder / "stack" / "a.npy"
    stack.parent.mkdir()
    np.save(stack, np.stack([frame.image() for frame in open_video(video, frame_size=size)]))
    return video, stack


@pytest.mark.usefixtures("toys")
def test_a_decoder_from_outside_extracts_what_its_frames_are(tmp_path: Path) -> None:
    video, stack = _pair(tmp_path, 40)
    extract([video], tmp_path / "video.h5", settings=_by("auto"))
    report = extract([stack], tmp_path / "stack.h5", settings=_by("stack"))
    assert (report.new, report.failures) == (1, [])
    with FeatureStore(tmp_path / "video.h5") as by_pyav, FeatureStore(tmp_path / "stack.h5") as by:
        np.testing.assert_array_equal(by["a"]["pool5"], by_pyav["a"]["pool5"])
        np.testing.assert_array_equal(by["a"].clip_frames, by_pyav["a"].clip_frames)
        assert by["a"].attrs["decoder"] == "stack"
        assert by["a"].attrs["codec"] == "none"
        assert json.loads(by.file.attrs["decoder"]) == {"choice": "stack", "stack": "1.2"}
        recorded = json.loads(by_pyav.file.attrs["decoder"])
        assert recorded == {"choice": "pyav", "pyav": version("av")}
        assert "decoded by stack 1.2" in as_text(summarise(by))
    found = verify(tmp_path / "stack.h5")
    assert (found.problems, found.clips, found.deviation) == ([], 2, 0)
    with pytest.raises(OtherSettings, match=r"decoder\.choice"):
        extract([video], tmp_path / "stack.h5", settings=_by("auto"))


@pytest.mark.usefixtures("toys")
def test_a_file_that_a_decoder_from_outside_cannot_read_fails_with_its_reason(
    tmp_path: Path,
) -> None:
    (tmp_path / "a.npy").write_bytes(b"no such thing")
    report = extract([tmp_path / "a.npy"], tmp_path / "o.h5", settings=_by("stack"))
    assert report.failures == [(str(tmp_path / "a.npy"), "not a .npy file")]


@pytest.mark.usefixtures("toys")
@pytest.mark.parametrize(("decoder", "kept"), [("stack", []), ("steady", [1])])
def test_only_a_decoder_that_resumes_goes_on_inside_a_video(
    tmp_path: Path, decoder: str, kept: list[int]
) -> None:
    _, stack = _pair(tmp_path, 48)
    out, whole = tmp_path / "out.h5", tmp_path / "whole.h5"
    extract([stack], whole, settings=_by(decoder))
    ready = prepare(_by(decoder))
    (source,) = find_videos([stack], layers=["pool5"]).sources
    journal = Journal(out)
    journal.begin(ready.recorded.to_json())
    left = {"pool5": np.full((1, 512), 7, dtype=np.float32)}
    origin = Origin(source.text, source.stamp(), computed_by=ready.computed_by)
    journal.add(source.id, [1], left, origin)
    journal.commit()
    journal.close()
    assert extract([stack], out, settings=_by(decoder)).new == 1
    with FeatureStore(out) as gone_on, FeatureStore(whole) as store:
        assert len(store["a"]) == 3
        for clip in range(3):
            expected = left["pool5"][0] if clip in kept else store["a"]["pool5"][clip]
            np.testing.assert_array_equal(gone_on["a"]["pool5"][clip], expected)
        assert f"decoded by {decoder}" in as_text(summarise(gone_on))


def _decoded(
    paths: list[Path], decoder: str, *, timeout: float = 60.0
) -> tuple[dict[int, dict[int, np.ndarray]], dict[int, Done | Failed]]:
    """Return the clips of videos, and how each video ended."""
    settings = DecodeSettings(ClipSpec(frames=4, step=1, stride=4), TINY, decoder, 3)
    clips: dict[int, dict[int, np.ndarray]] = {key: {} for key in range(len(paths))}
    ended: dict[int, Done | Failed] = {}
    with Pool(settings, workers=1, timeout=timeout) as pool:
        pool.submit([Job(key, str(path), decoder) for key, path in enumerate(paths)])
        while not pool.idle:
            for event in pool.events(0.1):
                if isinstance(event, ClipArrived):
                    clips[event.key][event.clip] = event.frames.copy()
                elif isinstance(event, Done | Failed):
                    ended[event.key] = event
    return clips, ended


@pytest.mark.usefixtures("toys")
def test_what_a_decoder_gives_up_or_dies_of_the_default_one_decodes_anew(tmp_path: Path) -> None:
    names = ("good", "doubt", "crash", "hang")
    paths = [encode(tmp_path / f"{name}.mp4", 24, seed=i) for i, name in enumerate(names)]
    expected, _ = _decoded(paths, "auto")
    clips, ended = _decoded(paths, "shaky", timeout=3.0)
    by = {names[key]: event.summary.decoder for key, event in ended.items()}
    assert by == {"good": "shaky", "doubt": "pyav", "crash": "pyav", "hang": "pyav"}
    for key in range(len(paths)):
        assert clips[key].keys() == expected[key].keys()
        for clip, frames in expected[key].items():
            np.testing.assert_array_equal(clips[key][clip], frames)


@pytest.mark.usefixtures("toys")
def test_nobody_takes_over_from_a_decoder_that_calls_itself_exact(tmp_path: Path) -> None:
    path = encode(tmp_path / "a.mp4", 24)
    with pytest.raises(NotExact):
        open_video(path, decoder="liar")
    clips, ended = _decoded([path], "liar")
    assert (clips, ended) == ({0: {}}, {0: Failed(0, "it gets such files wrong")})


def test_a_job_for_a_decoder_that_is_not_there_fails_alone(tmp_path: Path) -> None:
    path = encode(tmp_path / "a.mp4", 24)
    _, ended = _decoded([path], "stack")
    assert isinstance(ended[0], Failed)
    assert "'stack'" in ended[0].reason


# A decoder of another package, by its entry point.


def _package(folder: Path, entry: str) -> dict[str, str]:
    """Install a package with an entry point, and return the environment in which it is there."""
    info = folder / "toy-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: toy\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[featx.decoders]\n{entry}\n")
    return {"PYTHONPATH": os.pathsep.join([str(folder), str(HELPERS)])}


def test_a_package_brings_a_decoder_to_the_command_line_by_an_entry_point(tmp_path: Path) -> None:
    env = _package(tmp_path / "package", "stack = toy_decoders")
    video, stack = _pair(tmp_path, 24)
    out = tmp_path / "out.h5"
    arguments = (
        "extract",
        "--model",
        "res3d_half",
        *SMALL,
        "--crop",
        32,
        "--decoder",
        "stack",
        "--json",
    )
    done = featx(*arguments, stack, out, env=env)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["settings"]["decoder"] == {"choice": "stack", "stack": "1.2"}
    with FeatureStore(out) as store:
        assert store["a"].attrs["decoder"] == "stack"
    assert "stack" in featx("extract", "--help", env=env).stdout
    refused = featx(*arguments, video, tmp_path / "other.h5")
    assert (refused.returncode, "stack" in refused.stderr) == (2, True)


@pytest.mark.parametrize("module", ["no_such_module", "json", "featx.video.cutting"])
def test_a_package_whose_decoder_does_not_load_is_named(tmp_path: Path, module: str) -> None:
    env = _package(tmp_path / "package", f"broken = {module}")
    video = encode(tmp_path / "a.mp4", 8)
    arguments = ("extract", "--model", "res3d_half", *SMALL, "--decoder")
    done = featx(*arguments, "broken", video, tmp_path / "o.h5", env=env)
    assert (done.returncode, module in done.stderr) == (2, True)
    assert "Traceback" not in done.stderr
    assert featx("extract", "--help", env=env).returncode == 0


# A video, as its user sees it.


def test_a_video_says_what_it_is(tmp_path: Path) -> None:
    path = encode(tmp_path / "a.avi", 60, size=(48, 64), codec="mpeg4", fps=30)
    video = api.open_video(path)
    assert (video.path, video.width, video.height) == (str(path), 64, 48)
    assert (video.fps, video.duration) == (30.0, 2.0)
    assert repr(video) == "Video('a.avi': 64x48, 30 fps, 2.0 s, pyav)"
    assert sum(1 for _ in video) == video.n_frames == 60
    with pytest.raises(UsageError, match=r"a\.avi"):
        next(iter(video))


def test_a_video_whose_container_tells_no_length_does_not_make_one_up(tmp_path: Path) -> None:
    video = open_video(encode(tmp_path / "a.h264", 10))
    assert video.duration == 0
    assert repr(video) == "Video('a.h264': 80x64, 25 fps, pyav)"
    list(video)
    assert video.times[-1] == pytest.approx(0.4)


def test_a_video_names_the_decoder_that_was_chosen(toys: ModuleType, tmp_path: Path) -> None:
    _, stack = _pair(tmp_path, 8)
    assert open_video(stack, decoder="stack").decoder == "stack"
    good = encode(tmp_path / "good.mp4", 8)
    assert open_video(good, decoder="shaky").decoder == "shaky"
