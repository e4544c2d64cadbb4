"""From videos to detections, with tiny networks: windows, priors, outputs, and what is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from conftest import encode
from detection_networks import CLASSES, LENGTHS, instances, write_networks
from told import telling, tells

from featx.clips import placed, window_spec
from featx.datasets import thumos14
from featx.datasets.untrimmed import Annotations, Instance
from featx.errors import FeatxError, UsageError
from featx.extraction.settings import Machine
from featx.store.reader import FeatureStore
from featx.synthetic.layouts import write_dataset
from featx.tasks.cli.detect import detect as command
from featx.tasks.localization import detect
from featx.tasks.localization._detect import DetectSettings, evaluate_found, find_actions
from featx.tasks.localization._networks import read_networks, write_instances
from featx.tasks.localization._postprocessing import counted_prior, overlap_for, window_durations

MACHINE = Machine(device="cpu", workers=1, precision="float32")


pytestmark = pytest.mark.usefixtures("tiny_network")


@pytest.fixture(scope="module")
def networks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_networks(tmp_path_factory.mktemp("networks"))


@pytest.fixture(scope="module")
def eager(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Networks to which every window is an action."""
    return write_networks(tmp_path_factory.mktemp("eager"), background=-100.0)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """THUMOS'14's layout, generated: a test video a class."""
    folder = tmp_path_factory.mktemp("data")
    write_dataset(
        "thumos14",
        folder,
        classes=["move_left", "rotate_cw"],
        per_class=1,
        seconds=8.0,
        size=(48, 64),
    )
    return folder


def settings(networks: Path, **changes: Any) -> DetectSettings:
    return DetectSettings(
        **{"networks": str(networks), "threshold": 0.0, "machine": MACHINE, **changes}
    )


def test_windows_are_the_networks_and_scores_are_weighed_by_the_prior(
    networks: Path, tmp_path: Path
) -> None:
    video = encode(tmp_path / "a.mp4", 100, fps=25)
    found = find_actions({"a": str(video)}, tmp_path / "w.h5", settings(networks))
    plain = find_actions(
        {"a": str(video)}, tmp_path / "w.h5", settings(networks, prior="none")
    ).windows
    with FeatureStore(tmp_path / "w.h5") as store:
        rows = store[store.ids[0]]["localization"]
        assert store.file.attrs["format_version"] == 3
    every = placed(100, window_spec(4, lengths=LENGTHS))
    kept = np.flatnonzero(rows.argmax(axis=1) > 0)
    assert 0 < len(kept) < len(every)
    windows = found.windows
    assert windows.classes == CLASSES
    assert windows.videos == ("a",)
    np.testing.assert_array_equal(windows.label, rows[kept].argmax(axis=1) - 1)
    np.testing.assert_array_equal(windows.length, [every[k][1].span for k in kept])
    np.testing.assert_allclose(windows.start, [every[k][0] / 25 for k in kept], atol=1e-6)
    np.testing.assert_allclose(
        windows.end, [(every[k][0] + every[k][1].span) / 25 for k in kept], atol=1e-6
    )
    np.testing.assert_array_equal(plain.score, rows[kept].max(axis=1).astype(np.float64))
    of = read_networks(networks).instances
    assert of is not None
    prior = counted_prior(of, lengths=LENGTHS, durations=window_durations(LENGTHS, 25.0))
    weights = prior.weights[np.searchsorted(LENGTHS, windows.length), windows.label]
    np.testing.assert_allclose(windows.score, plain.score * weights)


def test_a_frame_rate_of_its_own_gives_each_video_windows_of_its_own_seconds(
    networks: Path, tmp_path: Path
) -> None:
    slow, fast = (
        encode(tmp_path / "slow.mp4", 70, fps=10),
        encode(tmp_path / "fast.mp4", 70, fps=50),
    )
    paths = {"slow": str(slow), "fast": str(fast)}
    found = find_actions(paths, tmp_path / "w.h5", settings(networks, fps="own"))
    plain = find_actions(paths, tmp_path / "w.h5", settings(networks, fps="own", prior="none"))
    windows = found.windows
    seconds = windows.end - windows.start
    rate = np.asarray([{"slow": 10.0, "fast": 50.0}[windows.videos[v]] for v in windows.video])
    assert len(set(rate)) == 2
    np.testing.assert_allclose(seconds * rate, windows.length, atol=1e-4)
    of = read_networks(networks).instances
    assert of is not None
    for each in (10.0, 50.0):
        prior = counted_prior(of, lengths=LENGTHS, durations=window_durations(LENGTHS, each))
        rows = rate == each
        weights = prior.weights[np.searchsorted(LENGTHS, windows.length[rows]), windows.label[rows]]
        np.testing.assert_allclose(windows.score[rows], plain.windows.score[rows] * weights)


@pytest.mark.parametrize("rate", [1, 4, 20, 50])
def test_windows_lie_where_their_frames_are_due_whatever_the_videos_rate(
    eager: Path, tmp_path: Path, rate: int
) -> None:
    video = encode(tmp_path / "a.mp4", 4 * rate, fps=rate)
    windows = find_actions(
        {"a": str(video)}, tmp_path / "w.h5", settings(eager, prior="none")
    ).windows
    # By the data's read-me: frames at 25 a second, a quarter of the length apart, those that run past the end dropped.
    literal = [(s / 25, (s + n) / 25, n) for n in LENGTHS for s in range(0, 100 - n + 1, n // 4)]
    rows = list(
        zip(windows.start.tolist(), windows.end.tolist(), windows.length.tolist(), strict=True)
    )
    assert sorted(rows) == sorted(literal)


def test_windows_are_counted_from_the_first_frame_and_end_with_the_video(
    eager: Path, tmp_path: Path
) -> None:
    paths = {str(n): str(encode(tmp_path / f"{n}.mp4", n)) for n in (1, 9, 15)}
    # Longer than the shortest window, and not by the four frames that the next one begins later.
    paths["late"] = str(
        encode(tmp_path / "late.mkv", 7, fps=10, pts=[1500 + 100 * i for i in range(7)])
    )
    windows = find_actions(paths, tmp_path / "w.h5", settings(eager, prior="none")).windows
    assert [windows.videos[v] for v in windows.video] == list(paths)
    np.testing.assert_array_equal(windows.start, 0)
    np.testing.assert_allclose(windows.end, [1 / 25, 9 / 25, 15 / 25, 16 / 25], atol=1e-9)
    assert (windows.length == 16).all()


def test_videos_that_were_moved_have_the_windows_they_had(networks: Path, tmp_path: Path) -> None:
    encode(tmp_path / "there" / "a.mp4", 60)
    encode(tmp_path / "there" / "b.mp4", 60, seed=1)
    asked: dict[str, Any] = {"networks": str(networks), "windows_file": str(tmp_path / "w.h5")}
    asked |= {"threshold": 0.0, "machine": MACHINE}
    first = detect([str(tmp_path / "there")], out=[str(tmp_path / "first.json")], **asked)
    (tmp_path / "there").rename(tmp_path / "here")
    encode(tmp_path / "here" / "c.mp4", 60, seed=2)
    second = detect([str(tmp_path / "here")], out=[str(tmp_path / "second.json")], **asked)
    was, now = (
        json.loads((tmp_path / f"{name}.json").read_text())["results"]
        for name in ("first", "second")
    )
    assert was
    assert all(was.values())
    assert {name: now[name] for name in was} == was
    assert set(now) == {"a", "b", "c"}
    assert len(second.found.windows) > len(first.found.windows)


def test_other_settings_than_the_windows_are_refused_by_name(
    networks: Path, tmp_path: Path
) -> None:
    video = {"a": str(encode(tmp_path / "a.mp4", 20))}
    find_actions(video, tmp_path / "w.h5", settings(networks))
    with pytest.raises(UsageError, match=telling("threshold", "0.0", 0.5, "windows")):
        find_actions(video, tmp_path / "w.h5", settings(networks, threshold=0.5))


def test_a_prior_that_does_not_fit_is_refused_before_anything_is_computed(
    networks: Path, tmp_path: Path
) -> None:
    video = {"a": str(encode(tmp_path / "a.mp4", 20))}
    (tmp_path / "other.csv").write_text("length,MoveLeft\n16,1\n")
    for prior, told in (
        (tmp_path / "nowhere.csv", ()),
        (tmp_path / "other.csv", ("RotateCw",)),
    ):
        with pytest.raises(FeatxError, match=telling(prior, *told)):
            find_actions(video, tmp_path / "w.h5", settings(networks, prior=str(prior)))
        assert not (tmp_path / "w.h5").exists()


def test_windows_that_are_no_proposals_have_no_class(networks: Path, tmp_path: Path) -> None:
    video = {"a": str(encode(tmp_path / "a.mp4", 100))}
    every = find_actions(video, tmp_path / "every.h5", settings(networks)).windows
    threshold = float(np.median(every.action))
    some = find_actions(
        video, tmp_path / "some.h5", settings(networks, threshold=threshold)
    ).windows
    assert 0 < len(some) < len(every)
    assert (some.action >= np.float32(threshold)).all()
    np.testing.assert_array_equal(some.score, every.score[every.action >= np.float32(threshold)])


def test_a_video_that_cannot_be_read_costs_itself_alone_and_is_searched_in_vain(
    networks: Path, tmp_path: Path
) -> None:
    (tmp_path / "bad.mp4").write_bytes(b"no video")
    paths = {"bad": str(tmp_path / "bad.mp4"), "good": str(encode(tmp_path / "good.mp4", 40))}
    found = find_actions(paths, tmp_path / "w.h5", settings(networks))
    assert [path for path, _ in found.failures] == [paths["bad"]]
    assert found.windows.videos == ("bad", "good")
    assert set(found.windows.video.tolist()) == {1}
    absent = find_actions(
        {**paths, "gone": str(tmp_path / "gone.mp4")}, tmp_path / "w.h5", settings(networks)
    )
    assert sorted(path for path, _ in absent.failures) == sorted(
        [paths["bad"], str(tmp_path / "gone.mp4")]
    )
    assert absent.windows.videos == ("bad", "good", "gone")
    assert len(absent.windows) == len(found.windows)
    with pytest.raises(FeatxError, match=telling(1)):
        find_actions({"gone": str(tmp_path / "gone.mp4")}, tmp_path / "v.h5", settings(networks))
    with pytest.raises(FeatxError, match=telling(1)):
        find_actions({"bad": paths["bad"]}, tmp_path / "v.h5", settings(networks))


def test_the_dataset_is_searched_and_evaluated_with_each_tious_own_suppression(
    networks: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FEATX_DATA", str(data))
    out = [str(tmp_path / name) for name in ("d.json", "d.txt", "d.csv")]
    asked: dict[str, Any] = {"networks": str(networks), "threshold": 0.0, "machine": MACHINE}
    done = detect(subset="test", out=out, tious=(0.3, 0.5), **asked)
    truth = thumos14.load_annotations("test")
    assert done.found.windows.videos == truth.videos
    assert [e.protocol for e in done.evaluations] == ["thumos14", "activitynet"]
    assert done.evaluations[0].videos == truth.videos
    assert done.evaluations == () or len(done.evaluations[0].thresholds) == 2
    few, many = (len(at.detections) for at in done.evaluations[0].thresholds)
    assert few < many
    again = evaluate_found(done.found, truth, tious=(0.5,))
    assert again[0].thresholds[0].mean_ap == done.evaluations[0].thresholds[1].mean_ap
    assert overlap_for(0.5) == pytest.approx(0.4)
    results = json.loads(Path(out[0]).read_text())["results"]
    assert list(results) == list(truth.videos)
    assert sum(map(len, results.values())) == len(done.found.detections)
    assert tells(done.notes[0], "generated")
    # The second time nothing is computed: the windows are there.
    before = Path(done.found.windows_file).stat().st_mtime_ns
    detect(subset="test", out=out[:1], tious=(0.5,), **asked)
    assert Path(done.found.windows_file).stat().st_mtime_ns == before


def test_a_network_whose_training_has_not_ended_is_told_of(networks: Path, tmp_path: Path) -> None:
    for stage in ("proposal", "localization"):
        (tmp_path / "n" / stage).mkdir(parents=True)
        (tmp_path / "n" / stage / "last.safetensors").symlink_to(
            networks / stage / "last.safetensors"
        )
    write_instances(tmp_path / "n", instances((0, 1.0), (1, 1.0)))
    video = {"a": str(encode(tmp_path / "a.mp4", 20))}
    assert not find_actions(video, tmp_path / "w.h5", settings(tmp_path / "n")).notes
    (tmp_path / "n" / "localization" / "run.json").write_text("{}")
    notes = find_actions(video, tmp_path / "w.h5", settings(tmp_path / "n")).notes
    assert len(notes) == 1
    assert tells(notes[0], "localization")


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(command, [str(a) for a in arguments])


def test_the_command_finds_writes_and_evaluates(networks: Path, data: Path, tmp_path: Path) -> None:
    videos, truth = data / "thumos14" / "TH14_test_set_mp4", data / "thumos14" / "annotation_test"
    out = tmp_path / "found.json"
    asked = ("--networks", networks, "--threshold", 0, "--out", out, "--device", "cpu")
    pictures = ("--html", tmp_path / "page.html", "--plot", tmp_path / "pr.png")
    done = invoke(
        videos, *asked, "--annotations", truth, "--tiou", "0.5", "--bootstrap", 20, *pictures
    )
    assert done.exit_code == 0, done.output
    assert tells(done.output, "THUMOS'14", "ActivityNet", "tIoU 0.5")
    assert max(map(len, done.stdout.splitlines())) <= 130
    assert (tmp_path / "found.windows.h5").exists()
    assert (tmp_path / "page.html").stat().st_size > 10_000
    assert (tmp_path / "pr.png").exists()
    plain = invoke(videos, *asked, "--json")
    assert plain.exit_code == 0, plain.output
    told = json.loads(plain.stdout)
    assert told["protocols"] == {}
    assert [each["name"] for each in told["networks"].values()] == ["proposal", "localization"]
    assert told["actions"] <= told["proposals"] == told["windows"]
    assert told["detections"] == sum(map(len, json.loads(out.read_text())["results"].values()))


def test_ids_of_classes_go_by_their_names_in_the_annotations(eager: Path, tmp_path: Path) -> None:
    video = str(encode(tmp_path / "a.mp4", 60))
    # The other way round than the networks' classes.
    truth = Annotations(
        name="t",
        classes=CLASSES[::-1],
        numbers=(7, 9),
        instances=(Instance("a", 1, 0, 1),),
        ambiguous=(),
        videos=("a",),
    )
    asked: dict[str, Any] = {"networks": str(eager), "threshold": 0.0, "machine": MACHINE}
    out = tmp_path / "d.txt"
    found = detect(
        [video], annotations=truth, out=[str(out)], tious=(0.5,), **asked
    ).found.detections
    ids = [int(line.split()[3]) for line in out.read_text().splitlines()]
    assert ids == [{"MoveLeft": 9, "RotateCw": 7}[found.classes[label]] for label in found.label]
    detect([video], annotations=replace(truth, numbers=None), out=[str(out)], tious=(0.5,), **asked)
    assert [int(line.split()[3]) for line in out.read_text().splitlines()] == [
        2 if n == 9 else 1 for n in ids
    ]
    alone = replace(truth, classes=CLASSES[:1], numbers=(9,), instances=(Instance("a", 0, 0, 1),))
    if set(ids) != {9}:
        with pytest.raises(UsageError, match=telling("'RotateCw'")):
            detect([video], annotations=alone, out=[str(out)], tious=(0.5,), **asked)


def test_help_of_the_group_and_of_what_is_under_it() -> None:
    whole = invoke("--help")
    assert "--thumos14" in whole.output
    assert "eval" in whole.output
    assert "--annotations" in invoke("eval", "--help").output
    assert "--stage" in invoke("train", "--help").output


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((), "--thumos14"),
        (("VIDEO",), "networks"),
        (("VIDEO", "--networks", "nowhere"), "nowhere"),
        (("VIDEO", "--networks", "NETWORKS", "--out", "d.xml"), "d.xml"),
        (
            ("VIDEO", "--networks", "NETWORKS", "--out", "d.csv", "--windows", "VIDEO"),
            "VIDEO",
        ),
        (
            ("VIDEO", "--networks", "NETWORKS", "--out", "NETWORKS/instances.csv"),
            "NETWORKS/instances.csv",
        ),
        (
            ("VIDEO", "--networks", "NETWORKS", "--prior", "prior.csv", "--out", "prior.csv"),
            "prior.csv",
        ),
        (
            (
                "VIDEO",
                "--networks",
                "NETWORKS",
                "--annotations",
                "TRUTH",
                "--out",
                "TRUTH/MoveLeft_test.txt",
            ),
            "TRUTH/MoveLeft_test.txt",
        ),
        (
            ("VIDEO", "--networks", "NETWORKS", "--out", "a.json", "--windows", "a.json"),
            "a.json",
        ),
        (
            ("VIDEO", "--networks", "NETWORKS", "--annotations", "TRUTH"),
            "1",
        ),
        (("VIDEO", "--networks", "NETWORKS", "--tiou", "a"), "'a'"),
        (("VIDEO", "--networks", "NETWORKS", "--tiou", "1.5"), "1.5"),
        (("VIDEO", "--networks", "NETWORKS", "--threshold", "2"), "2"),
        (("VIDEO", "--networks", "NETWORKS", "--overlap", "2"), "2"),
        (("VIDEO", "--networks", "NETWORKS", "--fps", "fast"), "'fast'"),
        (("VIDEO", "--networks", "NETWORKS", "--partial"), "--thumos14"),
        (("VIDEO", "--networks", "NETWORKS", "--plot", "p.png"), "--annotations"),
        (("VIDEO", "--networks", "NETWORKS", "--prior", "nowhere.csv"), "nowhere.csv"),
        (("VIDEO", "--thumos14", "--root", "DATA"), "--thumos14"),
        (("--thumos14", "--root", "nowhere"), "nowhere"),
        (("--thumos14", "--annotations", "DATA"), "--annotations"),
    ],
)
def test_what_cannot_be_is_refused_in_one_sentence(
    arguments: tuple[str, ...],
    told: str,
    networks: Path,
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    video = str(encode(tmp_path / "video.mp4", 20))
    truth = data / "thumos14" / "annotation_test"
    places = {
        "VIDEO": video,
        "NETWORKS": str(networks),
        "DATA": str(data / "thumos14"),
        "TRUTH": str(truth),
    }
    before = Path(video).read_bytes()

    def there(text: str) -> str:
        first = text.partition("/")[0]
        return places.get(first, first) + text[len(first) :]

    done = invoke(*map(there, arguments))
    assert isinstance(done.exception, UsageError), done.output
    assert tells(done.exception, there(told))
    assert "\n" not in str(done.exception)
    assert Path(video).read_bytes() == before


def test_networks_whose_instances_are_damaged_or_lack_a_class_are_refused(
    networks: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "n"
    folder.mkdir()
    for stage in ("proposal", "localization"):
        (folder / stage).symlink_to(networks / stage)
    video = {"a": str(encode(tmp_path / "a.mp4", 20))}
    with pytest.raises(UsageError, match=telling("instances")):
        find_actions(video, tmp_path / "w.h5", settings(folder))
    assert len(find_actions(video, tmp_path / "w.h5", settings(folder, prior="none")).windows) >= 0
    write_instances(
        folder,
        Annotations(
            name="v",
            classes=CLASSES,
            numbers=None,
            instances=(Instance("v", 0, 0, 1),),
            ambiguous=(),
            videos=(),
        ),
    )
    with pytest.raises(FeatxError, match=telling("RotateCw")):
        find_actions(video, tmp_path / "w.h5", settings(folder))
    (folder / "instances.csv").write_text("class,seconds\nMoveLeft,-1\n")
    with pytest.raises(FeatxError, match=telling("instances.csv")):
        read_networks(folder)
