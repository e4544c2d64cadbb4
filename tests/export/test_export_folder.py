"""What an export refuses, tells, and leaves behind: files whole or not at all, and nobody else's."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time

import h5py
import numpy as np
import pytest
from conftest import command, featx
from export_files import RES3D, annotated, extracted, times_of
from feature_files import write_features
from told import telling, tells

from featx.cli.export import export as export_command
from featx.clips import ClipSpec
from featx.errors import FeatxError, UsageError
from featx.export import FORMATS, export
from featx.system.files import lock_folder

TARGETS = sorted(FORMATS)
VIDEOS = {"a/video_test_1": times_of(100, 25), "b/video_validation_2": times_of(60, 25)}


def file_of(tmp_path, spec=RES3D, *, name="f.h5", videos=None, **settings):
    return extracted(tmp_path / name, videos or VIDEOS, spec, **settings)


def files_of(folder):
    """Return a folder's files by name, with what is in them."""
    return {
        str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()
    }


@pytest.mark.parametrize("to", TARGETS)
def test_evenly_spread_clips_have_no_stride(tmp_path, to):
    features = file_of(tmp_path, ClipSpec(frames=8, stride=16, count=5))
    if to == "mmaction":  # resampled to 100 anyway, by the clips' own times
        assert export(features, tmp_path / "out", to=to).videos == 2
        return
    with pytest.raises(UsageError, match=telling(5, "stride", "clips")):
        export(features, tmp_path / "out", to=to)
    assert not (tmp_path / "out").exists()


def test_clips_at_several_scales_have_no_single_stride(tmp_path):
    write_features(
        tmp_path / "f.h5",
        {"v": {"pool5": np.zeros((2, 3))}},
        clip={**RES3D.to_dict(), "scales": [1, 2, 4]},
    )
    with pytest.raises(UsageError, match=telling(3, "scales", "stride")):
        export(tmp_path / "f.h5", tmp_path / "out", to="mmaction")


@pytest.mark.parametrize("to", TARGETS)
def test_two_videos_of_one_name_are_named(tmp_path, to):
    videos = {"a/video_test_1": times_of(60, 25), "b/video_test_1": times_of(60, 25)}
    with pytest.raises(UsageError, match=telling("'a/video_test_1'", "'b/video_test_1'")):
        export(file_of(tmp_path, videos=videos), tmp_path / "out", to=to)


def test_the_prefix_can_make_two_names_one(tmp_path):
    features = file_of(tmp_path, videos={"x": times_of(60, 25), "v_x": times_of(60, 25)})
    with pytest.raises(UsageError, match=telling("'x'", "'v_x'")):
        export(features, tmp_path / "out", to="mmaction")
    assert export(features, tmp_path / "out", to="opentad").videos == 2


def test_gtad_knows_sides_by_names(tmp_path):
    features = file_of(
        tmp_path, videos={"v_Biking_g01_c01": times_of(60, 25), "video_test_1": times_of(60, 25)}
    )
    with pytest.raises(UsageError, match=telling(1, 2, "v_Biking_g01_c01", "opentad")):
        export(features, tmp_path / "out", to="gtad")


def test_the_layer_is_the_usual_one_or_asked_for(tmp_path):
    def layers(*names):
        write_features(
            tmp_path / "f.h5", {"v": {name: np.full((2, 3), i) for i, name in enumerate(names)}}
        )
        return tmp_path / "f.h5"

    assert export(layers("prob"), tmp_path / "1", to="opentad").layer == "prob"
    assert export(layers("fc6", "pool5"), tmp_path / "2", to="opentad").layer == "pool5"
    assert np.load(tmp_path / "2/features/v.npy").tolist() == [[1, 1, 1], [1, 1, 1]]
    with pytest.raises(UsageError, match=telling("fc6", "prob", "layer")):
        export(layers("fc6", "prob"), tmp_path / "3", to="opentad")
    with pytest.raises(UsageError, match=telling("'fc7'", "fc6")):
        export(tmp_path / "f.h5", tmp_path / "3", to="opentad", layer="fc7")
    with pytest.raises(UsageError, match=telling("'opentab'", "opentad")):
        export(tmp_path / "f.h5", tmp_path / "3", to="opentab")


@pytest.mark.parametrize(
    ("to", "spec"),
    [
        ("opentad", RES3D),
        ("opentad", ClipSpec(frames=8, step=2, stride=16, fps=12.5)),
        ("mmaction", RES3D),
        ("mmaction", ClipSpec(frames=8, stride=16, count=1)),
    ],
)
def test_a_stream_that_begins_late_is_counted_from_its_first_frame(tmp_path, to, spec):
    shown, notes = [], []
    for begin in (0.0, 1.5):
        features = file_of(
            tmp_path, spec, name=f"{begin:g}.h5", videos={"v": times_of(100, 25, begin=begin)}
        )
        made = export(features, tmp_path / f"{begin:g}", to=to)
        file = tmp_path / f"{begin:g}" / "features" / ("v.npy" if to == "opentad" else "v_v.csv")
        shown.append(
            np.load(file) if to == "opentad" else np.loadtxt(file, delimiter=",", skiprows=1)
        )
        notes.append(made.notes)
    assert notes[0] == notes[1]
    # The first number of a row is its clip's middle by the stream's own times.
    np.testing.assert_allclose(shown[1], shown[0] + [1.5, 0, 0], atol=1e-5)


def test_frames_far_from_the_stride_are_refused_and_near_ones_told(tmp_path):
    even = times_of(100, 25)
    late = np.where(np.arange(101) > 30, even + 0.06, even)  # a gap of a frame and a half
    told = export(
        file_of(tmp_path, videos={"even": even, "late": late}), tmp_path / "out", to="opentad"
    ).notes
    assert len(told) == 2
    assert tells(told[0], 1, "late")
    assert tells(told[1], "rates")
    broken = np.where(np.arange(101) > 30, even + 2.0, even)
    features = file_of(tmp_path, name="g.h5", videos={"even": even, "broken": broken})
    for to in ("activitynet", "actionformer", "opentad"):
        with pytest.raises(UsageError, match=telling(1, "'broken'", "fps")):
            export(features, tmp_path / "other", to=to)
    assert export(features, tmp_path / "other", to="mmaction").videos == 2


def test_what_is_missing_or_damaged_is_told(tmp_path):
    videos = {"short": times_of(9, 25), "a/hurt": times_of(60, 25), "whole": times_of(70, 25)}
    features = file_of(tmp_path, ClipSpec(frames=8, step=2, stride=16, tail="align"), videos=videos,
                       attrs={"a/hurt": {"damaged_frames": 4}}, failures=[("/videos/bad.mp4", "not a video")])  # fmt: skip
    report = export(features, tmp_path / "out", to="actionformer")
    text = "\n".join(report.notes)
    assert any(tells(note, "2 videos") for note in report.notes)
    for part in ("short", "a/hurt (4)", "bad.mp4"):
        assert part in text
        assert part in (tmp_path / "out/README.md").read_text(encoding="utf-8")
    assert report.failures == [("/videos/bad.mp4", "not a video")]
    about = json.loads((tmp_path / "out/featx_export.json").read_text(encoding="utf-8"))
    assert about["videos"]["short"]["looped"] is True
    assert (
        about["videos"]["hurt"] | {"rows": 3, "damaged_frames": 4, "id": "a/hurt"}
        == about["videos"]["hurt"]
    )


def test_an_empty_file_and_other_annotations_are_refused(tmp_path):
    write_features(tmp_path / "none.h5", {})
    with pytest.raises(UsageError, match=telling("none.h5")):
        export(tmp_path / "none.h5", tmp_path / "out", to="opentad")
    other = annotated(tmp_path / "a", "val", [("Diving", "another", 1, 2)])
    with pytest.raises(UsageError, match=telling(2)):
        export(file_of(tmp_path), tmp_path / "out", to="opentad", annotations=[other])
    with pytest.raises(UsageError, match=telling("another")):
        export(file_of(tmp_path), tmp_path / "out", to="opentad", annotations=[other, other])
    (tmp_path / "a.json").write_text(json.dumps({"database": {"video_test_1": {
        "subset": "mine", "annotations": [{"label": "x", "segment": [0, 1]}]}}}))  # fmt: skip
    subsets = "'mine'", "training", "validation", "testing"
    with pytest.raises(UsageError, match=telling(*subsets)):
        export(file_of(tmp_path), tmp_path / "out", to="opentad", annotations=[tmp_path / "a.json"])


def test_lengths_that_differ_from_the_annotations_are_told(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps({"database": {"video_test_1": {
        "subset": "testing", "duration": 9.0, "annotations": [{"label": "x", "segment": [0, 1]}]}}}))  # fmt: skip
    notes = export(
        file_of(tmp_path), tmp_path / "out", to="opentad", annotations=[tmp_path / "a.json"]
    ).notes
    assert any(tells(note, "a/video_test_1", "4.0 s", "9.0 s") for note in notes)
    assert any(tells(note, 1, "b/video_validation_2") for note in notes)


@pytest.mark.parametrize("to", TARGETS)
def test_interrupted_the_same_call_continues(tmp_path, to):
    features, out = file_of(tmp_path), tmp_path / "out"
    export(features, out, to=to)
    whole = files_of(out)
    shutil.rmtree(out)

    def stop(done, of):
        if done == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export(features, out, to=to, on_progress=stop)
    assert not list(out.rglob("*.tmp"))
    (out / f"features/{next(n for n in whole if n.startswith('features/'))[9:]}.tmp").write_bytes(
        b"torn by a kill"
    )
    export(features, out, to=to)
    assert files_of(out) == whole
    again = export(features, out, to=to)
    assert again.there == again.files
    assert files_of(out) == whole


def test_what_a_folder_holds_is_not_written_over(tmp_path):
    features, out = file_of(tmp_path), tmp_path / "out"
    out.mkdir()
    (out / "mine.txt").write_text("mine")
    with pytest.raises(UsageError, match=telling(out, "mine.txt", "overwrite")):
        export(features, out, to="opentad")
    assert files_of(out) == {"mine.txt": b"mine"}
    export(features, out, to="opentad", overwrite=True)
    assert (out / "mine.txt").read_text() == "mine"
    other = file_of(tmp_path, name="g.h5", videos={"c": times_of(50, 25)})
    with pytest.raises(UsageError, match=telling(out, "overwrite")):
        export(other, out, to="opentad")
    with pytest.raises(UsageError, match=telling(out, "overwrite")):
        export(features, out, to="actionformer")
    export(other, out, to="opentad", overwrite=True)
    # The first export's files are gone: a loader would have taken them for the second's.
    assert {name for name in files_of(out) if name.startswith("features")} == {"features/c.npy"}
    assert (out / "mine.txt").exists()


def test_the_same_names_with_other_rows_are_not_taken_for_done(tmp_path):
    out = tmp_path / "out"
    export(file_of(tmp_path), out, to="opentad")
    with h5py.File(shutil.copy(tmp_path / "f.h5", tmp_path / "g.h5"), "r+") as file:
        file["a/video_test_1"]["pool5"][:] = 7
    with pytest.raises(UsageError, match=telling(out, "overwrite")):
        export(tmp_path / "g.h5", out, to="opentad")
    export(tmp_path / "g.h5", out, to="opentad", overwrite=True)
    assert np.load(out / "features/video_test_1.npy").max() == 7


def test_inputs_are_never_written_over(tmp_path):
    out = tmp_path / "out"
    (out / "features").mkdir(parents=True)
    features = file_of(tmp_path)
    inside = out / "features/rgb_val.h5"
    shutil.copy(features, inside)
    before = inside.read_bytes()
    with pytest.raises(UsageError, match=telling(inside)):
        export(inside, out, to="gtad", overwrite=True)
    assert inside.read_bytes() == before
    (tmp_path / "file").write_text("x")
    with pytest.raises(UsageError, match=telling(tmp_path / "file")):
        export(features, tmp_path / "file", to="gtad", overwrite=True)


def test_a_manifest_cannot_have_files_elsewhere_removed(tmp_path):
    features, out = file_of(tmp_path), tmp_path / "out"
    (tmp_path / "precious").write_text("x")
    out.mkdir()
    (out / "features").mkdir()
    (out / "features/video_test_1.npy").symlink_to(
        tmp_path / "precious"
    )  # what stands there is replaced, not followed
    tampered = {
        "format": "featx-export",
        "files": ["../precious", str(tmp_path / "precious")],
        "made_from": "",
    }
    (out / "featx_export.json").write_text(json.dumps(tampered))
    export(features, out, to="opentad", overwrite=True)
    assert (tmp_path / "precious").read_text() == "x"
    assert len(np.load(out / "features/video_test_1.npy")) == 6


def test_a_folder_takes_one_export_at_a_time(tmp_path):
    features, out = file_of(tmp_path), tmp_path / "out"
    export(features, out, to="opentad")
    with (
        lock_folder(out / ".featx_export", name=str(out)),
        pytest.raises(UsageError, match=telling(out, os.getpid())),
    ):
        export(features, out, to="opentad")


def test_too_little_room_is_said_before_it_is_taken(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(100, 90, 10))
    with pytest.raises(FeatxError, match=telling(tmp_path / "out")):
        export(file_of(tmp_path), tmp_path / "out", to="opentad")


def test_the_command_line_knows_every_layout():
    choices = next(p for p in export_command.params if p.name == "to").type.choices
    assert sorted(choices) == TARGETS


def test_the_command(tmp_path):
    features = file_of(tmp_path)
    val = annotated(tmp_path / "val", "val", [("Diving", "video_validation_2", 1, 2)])
    done = featx(
        "export", features, "--to", "opentad", tmp_path / "out", "--annotations", val, "--json"
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert (report["videos"], report["rows"], report["config"]["feature_stride"]) == (2, 9, 16)
    assert tells(done.stderr, 1, "a/video_test_1")
    wrong = featx("export", tmp_path / "none.h5", "--to", "opentad", tmp_path / "more")
    assert wrong.returncode == 2
    assert tells(wrong.stderr, "Error:", tmp_path / "none.h5")
    assert not (tmp_path / "more").exists()


def test_ctrl_c_keeps_what_is_whole(tmp_path):
    videos = {f"video_test_{i}": times_of(120, 25) for i in range(1500)}  # seconds of work
    features = extracted(tmp_path / "f.h5", videos, ClipSpec(frames=1, stride=1))
    out = tmp_path / "out"
    run = subprocess.Popen(
        command("export", features, "--to", "mmaction", out),
        stderr=subprocess.PIPE,
        text=True,
        env=dict(os.environ),
    )
    begun = time.monotonic()
    while not list(out.glob("features/*.csv")) and run.poll() is None:
        assert time.monotonic() - begun < 60
        time.sleep(0.01)
    run.send_signal(signal.SIGINT)
    _, said = run.communicate(timeout=60)
    assert run.returncode == 130, said

    written = list(out.glob("features/*"))
    assert 0 < len(written) < 1500
    for path in written:
        assert np.loadtxt(path, delimiter=",", skiprows=1).shape == (100, 3)
