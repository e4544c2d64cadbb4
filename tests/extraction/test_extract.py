"""The extraction as a whole: what it writes, how it goes on, what it refuses."""

import json
import os
import shlex
import signal
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from conftest import SMALL, encode, featx, same_content
from extractions import SETTINGS, kill_again_and_again, started, wait_for_part
from settings import with_fields
from told import telling, tells

from featx.errors import UsageError
from featx.extraction.extract import extract
from featx.extraction.prepare import computed_by
from featx.extraction.verify import verify
from featx.store.info import as_text, summarise
from featx.store.journal import Journal, Origin
from featx.store.reader import FeatureStore
from featx.video.source import Stamp


def test_rows_are_the_models_output_for_the_frames_they_name(videos: Path, tmp_path: Path) -> None:
    """Against a plain computation: every frame decoded, the clip cut by hand, one forward pass in float32."""
    from featx import create_model
    from featx.video.reader import open_video

    out = tmp_path / "out.h5"
    layers = ["res5b", "pool5", "prob", "res2a.conv1"]
    settings = with_fields(
        SETTINGS, model="res3d", layers=layers, crop=None, precision="float32", stride=8
    )
    report = extract([videos], out, settings=settings)
    assert (report.total, report.new, report.failures) == (6, 6, [])
    model = create_model("res3d", seed=0).eval()
    with FeatureStore(out) as store:
        assert store.ids == ["a/v0", "a/v2", "a/v4", "b/v1", "b/v3", "b/v5"]
        video = store["b/v5"]
        assert video.clip_frames.tolist() == [[0, 16], [8, 24], [16, 32], [24, 40]]
        np.testing.assert_allclose(video.clip_times, video.clip_frames / 25)
        frames = [
            f.image()
            for f in open_video(videos / "b" / "v5.mp4", frame_size=lambda h, w: (128, 171))
        ]
        clip = np.stack([frames[8 + 2 * i][8:120, 29:141] for i in range(8)])
        x = (torch.from_numpy(clip).float() - 128).permute(3, 0, 1, 2)[None]
        seen: dict[str, torch.Tensor] = {}
        for name in ("res5b", "res2a.conv1"):
            model.get_submodule(name).register_forward_hook(
                lambda m, i, o, name=name: seen.update({name: o.clone()})
            )
        with torch.no_grad():
            seen["prob"] = model(x).softmax(1)
        seen["pool5"] = seen["res5b"].mean((2, 3, 4))
        for name, expected in seen.items():
            row = video[name][1]
            np.testing.assert_allclose(
                row, expected.flatten().numpy(), rtol=1e-3, atol=1e-4 * float(expected.abs().max())
            )
        assert video.dataset("res5b").clip_shape == (512, 1, 7, 7)


def test_the_file_says_what_is_in_it(videos: Path, tmp_path: Path) -> None:
    extract(
        [videos / "a"],
        tmp_path / "out.h5",
        settings=with_fields(SETTINGS, model="res3d", seed=3, batch_size=2, crop=None),
    )
    with h5py.File(tmp_path / "out.h5") as file:
        recorded = {
            name: json.loads(file.attrs[name])
            for name in ("model", "weights", "layers", "clip", "transform", "batch_size")
        }
        assert recorded["model"] == {"name": "res3d", "num_classes": 487}
        assert (recorded["weights"]["name"], recorded["weights"]["seed"]) == ("random", 3)
        assert recorded["layers"] == ["pool5"]
        assert recorded["clip"] == {
            "frames": 8,
            "step": 2,
            "stride": 16,
            "fps": None,
            "tail": "drop",
        }
        assert recorded["transform"]["crop"] == 112
        assert recorded["batch_size"] == 2
        attrs = dict(file["v2"].attrs)
        assert (
            attrs["frames"],
            attrs["fps"],
            attrs["width"],
            attrs["height"],
            attrs["damaged_frames"],
        ) == (28, 25.0, 80, 64, 0)
        assert attrs["duration_s"] == pytest.approx(28 / 25)
        assert bool(attrs["complete"])
        assert not attrs["looped"]
        assert attrs["path"] == str(videos / "a" / "v2.mp4")


def test_workers_and_order_do_not_change_a_bit(videos: Path, tmp_path: Path) -> None:
    extract([videos], tmp_path / "1.h5", settings=SETTINGS.changed(workers=1))
    extract([videos], tmp_path / "3.h5", settings=SETTINGS.changed(workers=3))
    extract([videos / "b"], tmp_path / "4.h5", settings=SETTINGS, root=str(videos))
    extract([videos / "a"], tmp_path / "4.h5", settings=SETTINGS, root=str(videos))
    same_content(tmp_path / "1.h5", tmp_path / "3.h5")
    same_content(tmp_path / "1.h5", tmp_path / "4.h5")


def test_two_halves_merge_to_the_whole(videos: Path, tmp_path: Path) -> None:
    from featx.store.writer import merge

    extract([videos], tmp_path / "whole.h5", settings=SETTINGS)
    for half in "ab":
        extract([videos / half], tmp_path / f"{half}.h5", settings=SETTINGS, root=str(videos))
    merge([tmp_path / "a.h5", tmp_path / "b.h5"], tmp_path / "merged.h5")
    same_content(tmp_path / "whole.h5", tmp_path / "merged.h5")


def test_clips_evenly_spread_are_recorded_and_made_again_the_same(tmp_path: Path) -> None:
    path, out = encode(tmp_path / "a.mp4", 43), tmp_path / "out.h5"
    sparse = SETTINGS.changed(frames=4, step=4)
    extract([path], out, settings=with_fields(sparse, clips=4))
    extract([path], tmp_path / "every.h5", settings=with_fields(sparse, stride=9))
    with FeatureStore(out) as store, FeatureStore(tmp_path / "every.h5") as every:
        assert store.settings.to_json()["clip"]["count"] == 4
        assert "count" not in every.settings.to_json()["clip"]
        assert (
            store["a"].clip_frames.tolist()
            == every["a"].clip_frames.tolist()
            == [[s, s + 16] for s in (0, 9, 18, 27)]
        )
        np.testing.assert_array_equal(store["a"]["pool5"], every["a"]["pool5"])
        assert tells(as_text(summarise(store)), "4 clips")
    found = verify(out)
    assert (found.problems, found.notes, found.clips, found.deviation) == ([], [], 4, 0)
    with pytest.raises(UsageError, match=telling("clip.count", 4)):
        extract([path], out, settings=sparse)


def test_another_crop_is_cut_from_frames_resized_in_proportion_and_recorded(tmp_path: Path) -> None:
    from featx import create_model
    from featx.video.reader import open_video

    path, out = encode(tmp_path / "a.mp4", 16, size=(128, 172)), tmp_path / "out.h5"
    settings = SETTINGS.changed(crop=56, precision="float32")
    extract([path], out, settings=settings)
    frames = [f.image() for f in open_video(path, frame_size=lambda h, w: (64, 86))][:16:2]
    x = (
        torch.from_numpy(np.stack([f[4:60, 15:71] for f in frames]))
        .float()
        .permute(3, 0, 1, 2)[None]
        - 128
    )
    seen: dict[str, torch.Tensor] = {}
    model = create_model("res3d_half", seed=0).eval()
    model.get_submodule("res5b").register_forward_hook(lambda m, i, o: seen.update(res5b=o))
    with torch.no_grad():
        model(x)
    expected = seen["res5b"].mean((2, 3, 4))[0].numpy()
    with FeatureStore(out) as store:
        np.testing.assert_allclose(
            store["a"]["pool5"][0], expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max()
        )
        assert (
            store.settings.to_json()["transform"]["crop"],
            store.settings.to_json()["transform"]["resize"],
        ) == (
            56,
            [64, 86],
        )
    assert verify(out).deviation == 0
    with pytest.raises(UsageError, match=telling("transform.crop", 56, 112)):
        extract([path], out, settings=with_fields(settings, crop=None))


def test_views_are_averaged(tmp_path: Path) -> None:
    path = encode(tmp_path / "a.mp4", 16, size=(128, 172))
    rows = {}
    for name, options in {"plain": {}, "flip": {"flip": True}, "ten": {"crops": "ten"}}.items():
        extract(
            [path],
            tmp_path / f"{name}.h5",
            settings=with_fields(SETTINGS, precision="float32", batch_size=1, crop=56, **options),
        )
        with FeatureStore(tmp_path / f"{name}.h5") as store:
            rows[name] = store[store.ids[0]]["pool5"]
    from featx import create_model
    from featx.extraction.backends.eager import EagerBackend
    from featx.transforms import TRAN2017
    from featx.video.reader import open_video

    extractor = EagerBackend(
        create_model("res3d_half", seed=0), ["pool5"], precision="float32", device="cpu"
    )
    frames = [f.image() for f in open_video(path, frame_size=TRAN2017.at(56).frame_size)][:16:2]
    corners = {
        "plain": [(4, 15)],
        "flip": [(4, 15)],
        "ten": [(4, 15), (0, 0), (0, 30), (8, 0), (8, 30)],
    }
    for name, places in corners.items():
        views = []
        for top, left in places:
            crop = torch.from_numpy(np.stack([f[top : top + 56, left : left + 56] for f in frames]))
            x = (crop.float() - 128).permute(3, 0, 1, 2)[None]
            views += [x] if name == "plain" else [x, x.flip(4)]
        expected = torch.cat([extractor(x)["pool5"] for x in views]).mean(0).numpy()
        np.testing.assert_allclose(
            rows[name][0], expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max()
        )


def test_a_rerun_does_nothing_and_new_videos_are_added(tmp_path: Path) -> None:
    for i in range(2):
        encode(tmp_path / "v" / f"{i}.mp4", 20, seed=i)
    out = tmp_path / "out.h5"
    assert extract([tmp_path / "v"], out, settings=SETTINGS).new == 2
    before = out.stat().st_mtime_ns
    again = extract([tmp_path / "v"], out, settings=SETTINGS)
    assert (again.new, again.done, out.stat().st_mtime_ns) == (0, 2, before)
    encode(tmp_path / "v" / "2.mp4", 20, seed=2)
    more = extract([tmp_path / "v"], out, settings=SETTINGS)
    assert (more.new, more.done) == (1, 3)
    assert verify(out, clips=4).ok
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out.h5", "v"]


@pytest.mark.parametrize("name", ["pool5", "clip_times"])
def test_a_damaged_file_is_not_gone_on_with(tmp_path: Path, name: str) -> None:
    """Its numbers would be copied: of rows that is seen as they are, and of places before a video is computed."""
    encode(tmp_path / "v" / "0.mp4", 20)
    out = tmp_path / "out.h5"
    extract([tmp_path / "v"], out, settings=SETTINGS)
    with h5py.File(out, "a") as file:
        file["0"][name][0, 0] = np.nan
    before = out.read_bytes()
    encode(tmp_path / "v" / "1.mp4", 20)
    with pytest.raises(UsageError, match=telling(out, name, "'0'", "finite")):
        extract([tmp_path / "v"], out, settings=SETTINGS)
    assert out.read_bytes() == before
    out.rename(tmp_path / "damaged.h5")  # what was computed is kept
    assert extract([tmp_path / "v"], out, settings=SETTINGS).new == (1 if name == "pool5" else 2)


def test_a_video_that_was_mended_is_extracted_by_the_next_run(tmp_path: Path) -> None:
    encode(tmp_path / "v" / "good.mp4", 20)
    (tmp_path / "v" / "bad.mp4").write_bytes(b"")
    out = tmp_path / "out.h5"
    first = extract([tmp_path / "v"], out, settings=SETTINGS)
    assert [(Path(p).name, "empty" in r) for p, r in first.failures] == [("bad.mp4", True)]
    with FeatureStore(out) as store:
        assert store.ids == ["good"]
        assert store.failures == first.failures
    encode(tmp_path / "v" / "bad.mp4", 20)
    assert extract([tmp_path / "v"], out, settings=SETTINGS).failures == []
    with FeatureStore(out) as store:
        assert (store.ids, store.failures) == (["bad", "good"], [])


def test_other_settings_on_the_same_file_are_refused(videos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.h5"
    extract([videos / "a"], out, settings=SETTINGS)
    before = out.read_bytes()
    for changed, differ in [
        ({"seed": 1}, ("weights.seed", 0, 1)),
        ({"stride": 8}, ("clip.stride", 16, 8)),
        ({"layers": ["pool5", "res5b"]}, ("layers", "pool5", "pool5,res5b")),
        ({"crops": "ten"}, ("transform.crops", "center", "ten")),
        ({"model": "r3d_18"}, ("model.name", "res3d_half", "r3d_18")),
    ]:
        with pytest.raises(UsageError, match=telling(*differ)):
            extract([videos / "b"], out, settings=with_fields(SETTINGS, **changed))
    assert out.read_bytes() == before


def test_another_video_under_the_same_id_is_refused(tmp_path: Path) -> None:
    encode(tmp_path / "v" / "a.mp4", 20)
    encode(tmp_path / "w" / "a.mp4", 20)
    extract([tmp_path / "v"], tmp_path / "out.h5", settings=SETTINGS)
    with pytest.raises(
        UsageError, match=telling("'a'", tmp_path / "v/a.mp4", tmp_path / "w/a.mp4")
    ):
        extract([tmp_path / "w"], tmp_path / "out.h5", settings=SETTINGS)
    encode(tmp_path / "v" / "a.mp4", 40)
    with pytest.raises(UsageError, match=telling(tmp_path / "v/a.mp4")):
        extract([tmp_path / "v"], tmp_path / "out.h5", settings=SETTINGS)


def test_a_second_run_on_the_same_file_stops_with_who_holds_it(
    videos: Path, tmp_path: Path
) -> None:
    journal = Journal(tmp_path / "out.h5")
    out = featx("extract", "--model", "res3d_half", *SMALL, videos, tmp_path / "out.h5")
    assert (out.returncode, tells(out.stderr, os.getpid())) == (2, True)
    journal.close()


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"model": "res3"}, ("'res3'", "res3d")),
        ({"layers": ["res5c"]}, ("'res5c'", "res5b")),
        ({"model": "c3d_padded", "weights": None}, ("c3d_padded", "weights='random'")),
        ({"weights": "nothing.pth"}, ("nothing.pth",)),
        ({"device": "cuda"}, ("'cuda'",)),
        ({"device": "tpu"}, ("'tpu'",)),
        ({"precision": "half"}, ("precision", "'half'")),
        ({"frames": 0}, ("frames", 0)),
        ({"crop": 0}, ("crop", 0)),
        ({"clips": 3, "stride": 8}, ("stride", 8, "clips", 3)),
        ({"clips": 0}, ("clips", 0)),
        ({"batch_size": 0}, ("batch", 0)),
        ({"workers": -1}, ("workers", -1)),
        ({"timeout": 0.0}, ("timeout", 0)),
    ],
)
def test_wrong_settings_get_one_sentence_and_touch_nothing(
    videos: Path, tmp_path: Path, changed: dict, told: tuple[object, ...]
) -> None:
    if changed.get("device") == "cuda" and torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    with pytest.raises(UsageError, match=telling(*told)) as error:
        extract([videos], tmp_path / "out.h5", settings=with_fields(SETTINGS, **changed))
    assert "\n" not in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_outputs_that_cannot_be_written_are_refused_before_any_work(
    videos: Path, tmp_path: Path
) -> None:
    (tmp_path / "text").write_text("precious")
    for out in (tmp_path, tmp_path / "text" / "out.h5", tmp_path / "text"):
        with pytest.raises(UsageError, match=telling(out)):
            extract([videos], out, settings=SETTINGS)
    assert (tmp_path / "text").read_text() == "precious"


@pytest.fixture(scope="module")
def long_video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return encode(tmp_path_factory.mktemp("long") / "a.mp4", 4000)


TWICE = [signal.SIGINT, signal.SIGINT]


@pytest.mark.parametrize(
    "signals", [[signal.SIGINT], [signal.SIGTERM], TWICE, [signal.SIGTERM, signal.SIGINT]], ids=str
)
def test_interrupted_it_says_how_to_go_on(
    long_video: Path, tmp_path: Path, signals: list[signal.Signals]
) -> None:
    out = tmp_path / "out.h5"
    process = started("extract", "--model", "res3d_half", *SMALL, long_video, out)
    wait_for_part(out, process)
    for sign in signals:
        process.send_signal(sign)
        time.sleep(0.1)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert not tells(err, "terminate")
    assert not out.exists()
    assert list((tmp_path / "out.h5.parts").glob("*.part")), "what was computed is kept"


def test_killed_at_random_instants_the_reruns_end_in_the_same_content(tmp_path: Path) -> None:
    """SIGKILL again and again, each time after something new was made safe, until a run comes to its end."""
    for i in range(5):
        encode(tmp_path / "v" / f"{i}.mp4", 90 + 10 * i, seed=i)
    encode(tmp_path / "v" / "long.mp4", 600, seed=9)
    (tmp_path / "v" / "bad.mp4").write_bytes(b"no video")
    args = ("extract", "--model", "res3d_half", *SMALL, tmp_path / "v")
    assert featx(*args, tmp_path / "whole.h5").returncode == 1
    out = tmp_path / "out.h5"
    assert (
        kill_again_and_again(*args, out, times=5) > 0
    )  # how often depends on the machine; on two cores about three times
    assert featx(*args, out).returncode == 1
    same_content(tmp_path / "whole.h5", out)
    assert not (tmp_path / "out.h5.parts").exists()


class Killed(BaseException):
    """Stands for SIGKILL at a chosen line: nothing after it happens."""


@pytest.mark.parametrize(
    "place",
    [
        "featx.extraction.extract.publish",
        "featx.extraction.extract.Journal.remove",
        "shutil.rmtree",
    ],
)
def test_killed_while_publishing_or_cleaning_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    for i in range(3):
        encode(tmp_path / "v" / f"{i}.mp4", 40, seed=i)
    extract([tmp_path / "v"], tmp_path / "whole.h5", settings=SETTINGS)

    def kill(*args: object, **options: object) -> None:
        if place != "shutil.rmtree" or Path(str(args[0])).exists():
            raise Killed

    monkeypatch.setattr(place, kill)
    with pytest.raises(Killed):
        extract([tmp_path / "v"], tmp_path / "out.h5", settings=SETTINGS)
    monkeypatch.undo()
    assert (tmp_path / "out.h5").exists() == (place != "featx.extraction.extract.publish")
    encode(tmp_path / "v" / "3.mp4", 40, seed=3)
    again = extract([tmp_path / "v"], tmp_path / "out.h5", settings=SETTINGS)
    assert (again.new, again.clips, again.failures) == (1, 2, [])
    extract([tmp_path / "v"], tmp_path / "whole.h5", settings=SETTINGS)
    same_content(tmp_path / "whole.h5", tmp_path / "out.h5")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out.h5", "v", "whole.h5"]


def _origin(path: Path, *, later: int = 0, by: str = "") -> Origin:
    status = path.stat()
    stamp = Stamp(status.st_size, status.st_mtime_ns + later)
    return Origin(str(path), stamp, computed_by=by or computed_by(torch.device("cpu")))


def test_a_long_video_goes_on_where_it_was(tmp_path: Path) -> None:
    path = encode(tmp_path / "v" / "long.mp4", 640)
    whole = extract([path], tmp_path / "whole.h5", settings=SETTINGS)
    journal = Journal(tmp_path / "out.h5")
    journal.begin(whole.settings.to_json())
    with FeatureStore(tmp_path / "whole.h5") as store:
        rows = store[store.ids[0]]["pool5"][:30]
    journal.add("long", list(range(30)), {"pool5": rows}, _origin(path))
    journal.commit()
    journal.close()
    rest = extract([path], tmp_path / "out.h5", settings=SETTINGS)
    assert (whole.clips, rest.clips) == (40, 10)
    same_content(tmp_path / "whole.h5", tmp_path / "out.h5")


@pytest.mark.parametrize("changed", [{"later": 1}, {"by": "torch 1.0, an abacus"}], ids=str)
def test_half_a_video_from_another_file_or_machine_is_begun_anew(
    tmp_path: Path, changed: dict
) -> None:
    path = encode(tmp_path / "v" / "a.mp4", 64)
    whole = extract([path], tmp_path / "whole.h5", settings=SETTINGS)
    journal = Journal(tmp_path / "out.h5")
    journal.begin(whole.settings.to_json())
    journal.add("a", [0, 1], {"pool5": np.full((2, 512), 7, np.float32)}, _origin(path, **changed))
    journal.commit()
    journal.close()
    assert extract([path], tmp_path / "out.h5", settings=SETTINGS).clips == 4
    same_content(tmp_path / "whole.h5", tmp_path / "out.h5")


def test_a_finished_video_that_was_replaced_by_one_of_the_same_size_is_noticed(
    tmp_path: Path,
) -> None:
    path = encode(tmp_path / "v" / "a.mp4", 40)
    extract([path], tmp_path / "out.h5", settings=SETTINGS)
    os.utime(path)  # touched, not changed
    assert extract([path], tmp_path / "out.h5", settings=SETTINGS).new == 0
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(UsageError, match=telling(tmp_path / "v/a.mp4")):
        extract([path], tmp_path / "out.h5", settings=SETTINGS)


def test_a_video_keeps_its_one_place_when_others_come(tmp_path: Path) -> None:
    first = encode(tmp_path / "c" / "d" / "a.mp4", 20)
    extract([first], tmp_path / "out.h5", settings=SETTINGS)
    second = encode(tmp_path / "c" / "e" / "b.mp4", 20, seed=1)
    third = encode(tmp_path / "c" / "d" / "a.avi", 20, codec="mpeg4", seed=2)
    report = extract([first, second, third], tmp_path / "out.h5", settings=SETTINGS)
    assert (report.new, report.done) == (2, 3)
    with FeatureStore(tmp_path / "out.h5") as store:
        assert sorted(Path(v.attrs["path"]) for v in store.values()) == sorted(
            [first, second, third]
        )
        assert "a" in store


def test_a_folder_that_would_stand_where_a_layer_does_is_refused_before_any_work(
    tmp_path: Path,
) -> None:
    encode(tmp_path / "v" / "a" / "pool5" / "x.mp4", 20)
    extract([tmp_path / "v"], tmp_path / "out.h5", settings=SETTINGS)
    encode(tmp_path / "v" / "a.mp4", 20)
    with pytest.raises(UsageError, match=telling("pool5", "'a'")):
        extract([tmp_path / "v"], tmp_path / "out.h5", settings=SETTINGS)


def test_a_failure_goes_when_the_video_is_mended_however_its_path_is_spelled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "v").mkdir()
    (tmp_path / "v" / "bad.mp4").write_bytes(b"")
    assert len(extract([tmp_path / "v"], tmp_path / "out.h5", settings=SETTINGS).failures) == 1
    before = (tmp_path / "out.h5").stat()
    assert len(extract([tmp_path / "v"], tmp_path / "out.h5", settings=SETTINGS).failures) == 1
    assert (tmp_path / "out.h5").stat().st_ino == before.st_ino, (
        "nothing new: the file is left as it is"
    )
    encode(tmp_path / "v" / "bad.mp4", 20)
    monkeypatch.chdir(tmp_path / "v")
    assert extract(".", "../out.h5", settings=SETTINGS).failures == []
    with FeatureStore(tmp_path / "out.h5") as store:
        assert (store.ids, store.failures) == (["bad"], [])


def test_an_output_that_is_a_link_stays_one(tmp_path: Path) -> None:
    encode(tmp_path / "v" / "a.mp4", 20)
    (tmp_path / "big").mkdir()
    (tmp_path / "out.h5").symlink_to("big/real.h5")
    extract([tmp_path / "v"], tmp_path / "out.h5", settings=SETTINGS)
    assert (tmp_path / "out.h5").is_symlink()
    assert [p.name for p in (tmp_path / "big").iterdir()] == ["real.h5"]


def test_merge_and_extract_do_not_write_the_same_file(tmp_path: Path) -> None:
    from featx.store.writer import merge

    encode(tmp_path / "v" / "a.mp4", 20)
    extract([tmp_path / "v"], tmp_path / "a.h5", settings=SETTINGS)
    journal = Journal(tmp_path / "out.h5")
    with pytest.raises(UsageError, match=telling("out.h5", os.getpid())):
        merge([tmp_path / "a.h5"], tmp_path / "out.h5")
    journal.begin({})
    journal.close()
    with pytest.raises(UsageError, match=telling("out.h5")):
        merge([tmp_path / "a.h5"], tmp_path / "out.h5")
    assert not (tmp_path / "out.h5").exists()


def test_refused_settings_leave_no_litter(tmp_path: Path) -> None:
    encode(tmp_path / "v" / "a.mp4", 20)
    extract([tmp_path / "v"], tmp_path / "out.h5", settings=SETTINGS)
    with pytest.raises(UsageError):
        extract([tmp_path / "v"], tmp_path / "out.h5", settings=with_fields(SETTINGS, seed=1))
    (tmp_path / "text").write_text("x")
    with pytest.raises(UsageError):
        extract([tmp_path / "v"], tmp_path / "text", settings=SETTINGS)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out.h5", "text", "v"]


def test_a_video_of_larger_frames_than_allowed_fails_alone(tmp_path: Path) -> None:
    encode(tmp_path / "in" / "large.mp4", 20, size=(64, 80))
    encode(tmp_path / "in" / "small.mp4", 20, size=(32, 48))
    limited = tmp_path / "limited.h5"
    asked = ["--model", "res3d_half", *SMALL, "--max-pixels", 64 * 80 - 1]
    done = featx("extract", *asked, tmp_path / "in", limited)
    assert done.returncode == 1
    assert tells(done.stderr, "large.mp4", "--max-pixels")
    with FeatureStore(limited) as store:
        assert store.ids == ["small"]
        assert [Path(path).name for path, _ in store.failures] == ["large.mp4"]
        assert tells(store.failures[0][1], "80x64", 64 * 80 - 1, "`max_pixels`")
        recorded = store.settings
    # Not recorded, so the same run goes on with another limit.
    extract([tmp_path / "in"], limited, settings=with_fields(SETTINGS, max_pixels=64 * 80))
    with FeatureStore(limited) as store:
        assert (store.ids, store.settings) == (["large", "small"], recorded)


@pytest.mark.parametrize(
    "options",
    [
        ("--step", 1, "--stride", 5, "--fps", 12.5, "--flip", "--seed", 4, "--tail", "pad"),
        ("--clips", 2, "--crops", "ten", "--input", "flow", "--flow", "dis"),
    ],
)
def test_the_command_that_a_file_names_makes_more_rows_of_its_kind(
    tmp_path: Path, options: tuple[object, ...]
) -> None:
    video = encode(tmp_path / "a video.mp4", 16, size=(32, 32))
    first = featx("extract", "--model", "res3d", *SMALL, *options, video, tmp_path / "1.h5")
    assert first.returncode == 0, first.stderr
    with FeatureStore(tmp_path / "1.h5") as store:
        program, *arguments = shlex.split(store.settings.command(str(video), "2.h5"))
    assert program == "featx"
    again = featx(*arguments, cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    same_content(tmp_path / "1.h5", tmp_path / "2.h5")
