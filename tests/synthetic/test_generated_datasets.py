"""Generated datasets: the official layouts and formats, and motion alone to tell the classes apart."""

from __future__ import annotations

import csv
import itertools
import re
from collections import Counter

import av
import numpy as np
import pytest
from click.testing import CliRunner
from conftest import SHARED, needs
from told import telling, tells

from featx.cli import cli
from featx.datasets import load_dataset
from featx.errors import UsageError
from featx.synthetic.layouts import ACTIONS, generated_names, write_dataset
from featx.synthetic.layouts._plan import Settings, Video, clip_of, held_out, images, still
from featx.synthetic.render import MOTIONS

TINY = {"size": (32, 48), "fps": 10.0}
# Enough for each layout, and no more.
LEAST = {
    "ucf101": {"classes": ["move_left", "grow"], "per_class": 5, "seconds": 0.5},
    "hmdb51": {"classes": ["move_left", "grow"], "per_class": 9, "seconds": 0.5},
    "kinetics": {"classes": ["move_left", "grow"], "per_class": 4, "seconds": 0.5},
    "aslan": {"per_class": 3, "seconds": 0.3},
    "thumos14": {"classes": ["move_left", "grow"], "per_class": 2, "seconds": 20.0},
}


def decoded(path):
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Every dataset once, by name."""
    data = tmp_path_factory.mktemp("data")
    return {name: write_dataset(name, data, **TINY, **LEAST[name]) for name in generated_names()}


def test_every_planned_file_is_there_and_decodes_to_what_was_asked_for(written):
    for dataset in written.values():
        assert {p for p in dataset.root.rglob("*") if p.is_file()} == {
            *dataset.videos, *dataset.files, dataset.root / "GENERATED.txt"
        }  # fmt: skip
        with av.open(str(dataset.videos[0])) as container:
            stream = container.streams.video[0]
            assert (stream.width, stream.height, stream.average_rate) == (48, 32, 10)
            is_avi = dataset.videos[0].suffix == ".avi"
            assert (container.format.name == "avi", stream.codec_context.name == "mpeg4") == (
                is_avi,
                is_avi,
            )
        with av.open(str(dataset.videos[-1])) as container:
            shown = sum(1 for _ in container.decode(video=0))
            seconds = LEAST[dataset.name]["seconds"]
            assert shown == round(seconds * 10)


@pytest.mark.parametrize("name", ["ucf101", "hmdb51", "kinetics"])
def test_the_protocols_reader_reads_what_is_written(written, name):
    sides = {
        "ucf101": ("train", "test"),
        "hmdb51": ("train", "test"),
        "kinetics": ("train", "val", "test"),
    }[name]
    for split in (1,) if name == "kinetics" else (1, 2, 3):
        loaded = {
            side: load_dataset(name, root=written[name].root, split=split, subset=side)
            for side in sides
        }
        groups = {side: {(i.label, i.group) for i in d.items} for side, d in loaded.items()}
        for one, other in itertools.combinations(sides, 2):
            assert not groups[one] & groups[other]
        for d in loaded.values():
            assert (len(d.classes), d.absent, set(Counter(i.label for i in d.items))) == (
                2,
                0,
                {0, 1},
            )
            assert any(tells(note, "generated") for note in d.notes)


def test_splits_hold_different_groups_out(written):
    for name in ("ucf101", "hmdb51"):
        held = [
            {
                i.id
                for i in load_dataset(name, root=written[name].root, split=s, subset="test").items
            }
            for s in (1, 2, 3)
        ]
        assert not held[0] & held[1]
        assert not held[0] & held[2]
        assert not held[1] & held[2]
    # As in UCF101: of 25 groups, 1 to 7, 8 to 14 and 15 to 21.
    assert [(held_out(25, s)[0], held_out(25, s)[-1]) for s in (1, 2, 3)] == [
        (1, 7),
        (8, 14),
        (15, 21),
    ]


def test_names_and_lists_are_in_the_official_formats(written):
    ucf101 = written["ucf101"].root
    assert (ucf101 / "ucfTrainTestlist/classInd.txt").read_bytes() == b"1 Grow\r\n2 MoveLeft\r\n"
    assert (
        (ucf101 / "ucfTrainTestlist/testlist02.txt")
        .read_bytes()
        .startswith(b"Grow/v_Grow_g02_c01.avi\r\n")
    )
    assert (
        b"MoveLeft/v_MoveLeft_g03_c01.avi 2\r\n"
        in (ucf101 / "ucfTrainTestlist/trainlist02.txt").read_bytes()
    )
    official = re.compile(
        r".+_(move_left|grow)_[hufl]_(nm|cm)_np\d+_(fr|ba|le|ri)_(goo|med|bad)_\d+\.avi [012] \n"
    )
    lists = sorted((written["hmdb51"].root / "testTrainMulti_7030_splits").iterdir())
    assert len(lists) == 6
    for path in lists:
        rows = path.read_text().splitlines(keepends=True)
        assert all(official.fullmatch(row) for row in rows)
        assert {row.split()[1] for row in rows} == {"0", "1", "2"}
    rows = list(
        csv.reader((written["kinetics"].root / "annotations/train.csv").read_text().splitlines())
    )
    assert rows[0] == ["label", "youtube_id", "time_start", "time_end", "split"]
    assert all(
        re.fullmatch(r"[\w-]{11}", row[1]) and int(row[3]) == int(row[2]) + 1 for row in rows[1:]
    )


def test_aslans_folds_have_actions_of_their_own_and_as_many_same_as_not_same_pairs(written):
    root = written["aslan"].root
    content = (root / "View2.mat").read_bytes()
    # The array is the last element: its numbers end the file.
    pairs = np.frombuffer(content[-8 * 5 * 10 * 12 :]).reshape(12, 5, 10, order="F")
    details = [
        re.fullmatch(r"(\d+)\t([^\\]+)\\.+-\w+-.+-0-0\.3", row)
        for row in (root / "Samples_Details.txt").read_text().splitlines()
    ]
    actions = [row.split("\t") for row in (root / "Actions_Ids.txt").read_text().splitlines()]
    numbers = {name: int(number) for number, name in actions}
    assert len(details) == len(list((root / "ASLAN_AVI").glob("[0-9]" * 4 + ".avi"))) == 60
    of_sample = {int(match[1]): numbers[match[2]] for match in details}
    used = [set(pairs[:, 3:, fold].ravel()) for fold in range(10)]
    assert sum(len(own) for own in used) == len(set.union(*used)) == 20
    for fold in range(10):
        rows = pairs[:, :, fold]
        assert all((of_sample[a], of_sample[b]) == (x, y) and a != b for a, b, _, x, y in rows)
        np.testing.assert_array_equal(rows[:, 2], rows[:, 3] == rows[:, 4])
        assert rows[:, 2].sum() == 6
        assert len({frozenset(row[:2]) for row in rows}) == 12


def test_scipy_reads_the_pairs(written):
    scipy_io = pytest.importorskip(
        "scipy.io", reason="SciPy, which featx does not need, is not installed"
    )
    table = scipy_io.loadmat(written["aslan"].root / "View2.mat")["action_splits_pairs"]
    assert (table.shape, table.dtype) == ((12, 5, 10), np.float64)
    assert set(np.unique(table[:, 2])) == {0.0, 1.0}
    assert table[:, :2].min() >= 1


ANNOTATION = re.compile(r"(video_(?:validation|test)_\d{7})  ?(\d+\.\d) (\d+\.\d) *\n?")


def test_thumos14s_annotations_and_counts_are_in_the_official_format(written):
    root = written["thumos14"].root
    for side, short, folder in (
        ("validation", "val", "validation"),
        ("test", "test", "TH14_test_set_mp4"),
    ):
        found = {}
        for path in (root / f"annotation_{short}").glob(f"*_{short}.txt"):
            rows = [ANNOTATION.fullmatch(row) for row in path.read_text().splitlines(keepends=True)]
            assert all(rows)
            found[path.name.removesuffix(f"_{short}.txt")] = [
                (m[1], float(m[2]), float(m[3])) for m in rows
            ]
        assert found.keys() == {"MoveLeft", "Grow", "Ambiguous"}
        assert all(found.values())
        everything = sorted(row for rows in found.values() for row in rows)
        assert all(0 < start < end < 20 for _, start, end in everything)
        assert all(a[0] != b[0] or a[2] < b[1] for a, b in itertools.pairwise(everything))
        assert {row[0] for row in everything} == {f"video_{side}_{n:07d}" for n in range(1, 5)}
        table = (root / f"{short}_video_info.csv").read_text().splitlines()
        assert table[:2] == [
            "video,fps,sample_fps,count,sample_count",
            f"video_{side}_0000001,10.0,10.0,200.0,200",
        ]
        assert len(list((root / folder).glob(f"video_{side}_*.mp4"))) == 4
    assert (root / "annotation_test/detclasslist.txt").read_text() == "1 Grow\n2 MoveLeft\n"
    assert re.fullmatch(rb"(\d+ \w+\r\n){2}", (root / "Class Index_Detection.txt").read_bytes())


@needs("thumos14")
def test_the_formats_asserted_are_those_of_the_official_files():
    for path in [
        *(SHARED / "thumos14/annotation_val").glob("*_val.txt"),
        *(SHARED / "thumos14/annotation_test").glob("*_test.txt"),
    ]:
        assert all(
            ANNOTATION.fullmatch(row) for row in path.read_text().splitlines(keepends=True)
        ), path
    for short in ("val", "test"):
        for row in csv.DictReader(
            (SHARED / f"thumos14/{short}_video_info.csv").read_text().splitlines()
        ):
            assert int(row["sample_count"]) == int(float(row["count"]) * 10 / float(row["fps"]))


def test_something_moves_in_an_action_and_hardly_anything_between(written):
    root = written["thumos14"].root
    starts_ends = [
        ANNOTATION.fullmatch(row)
        for row in (root / "annotation_val/MoveLeft_val.txt").read_text().splitlines()
    ]
    video = decoded(root / "validation/video_validation_0000001.mp4")
    change = np.array([np.abs(a.astype(int) - b).mean() for a, b in itertools.pairwise(video)])
    inside = np.zeros(len(change), bool)
    annotated = inside.copy()
    for path in (root / "annotation_val").glob("*_val.txt"):
        for match in map(ANNOTATION.fullmatch, path.read_text().splitlines()):
            if match[1].endswith("0000001"):
                annotated[round(float(match[2]) * 10) : round(float(match[3]) * 10)] = True
    for match in starts_ends:
        if match[1].endswith("0000001"):
            # A frame's margin: motion between two frames belongs to both.
            inside[round(float(match[2]) * 10) + 1 : round(float(match[3]) * 10) - 1] = True
    assert inside.sum() > 10
    # A shape moves 0.35 heights a second in the action; the background sways at most 0.15, half of the time.
    assert change[inside].mean() > 2 * change[~annotated].mean()


@pytest.mark.parametrize("name", ["move_left", "grow", "orbit_cw", "rotate_ccw", "oscillate_fast"])
def test_a_stretch_begins_where_the_one_before_it_ended(name):
    how = {"fps": 25.0, "size": (48, 64)}
    clip = clip_of(Settings(classes=(), per_class=1, seconds=1, seed=0, **how), "x", name, 1, 0)

    def shown(*stretches):
        return list(
            images(Video(path="x", stretches=stretches, group=clip.group, clip=clip.clip), **how)
        )

    before = shown((still, 10), (ACTIONS[name], 11))
    after = shown((still, 10), (ACTIONS[name], 10), (still, 5))
    assert len(after) == 25
    for frame in range(21, 25):
        np.testing.assert_array_equal(after[frame], after[20])
    for frame in (9, 10):
        np.testing.assert_array_equal(before[frame], before[0])
    assert np.abs(before[10].astype(int) - before[20]).mean() > 1
    # The same place by other additions: rounding may turn a grey level.
    np.testing.assert_allclose(after[20].astype(int), before[20].astype(int), atol=1)


# ---------------------------------------------------------------- what tells the classes apart


@pytest.fixture(scope="module")
def motions(tmp_path_factory):
    """All twelve motions in UCF101's layout: (files, labels, test side or not) of split 1, each (16, 36, 48, 3)."""
    how = {"per_class": 14, "seconds": 0.64, "size": (36, 48)}
    root = write_dataset("ucf101", tmp_path_factory.mktemp("motions"), **how).root
    sides = [load_dataset("ucf101", root=root, split=s, subset="test") for s in (1, 2, 3)]
    rest = load_dataset("ucf101", root=root, split=1)
    known = {item.id for side in sides for item in side.items}
    items = [
        *(item for side in sides for item in side.items),
        *(item for item in rest.items if item.id not in known),
    ]
    pixels = np.stack([np.stack(decoded(item.path)) for item in items])
    is_test = np.array([item.id in known for item in items])
    return (
        pixels,
        np.array([rest.classes[item.label] for item in items]),
        is_test,
        np.array([item.group for item in items]),
    )


def nearest_class(features, labels, is_test):
    """Return the accuracy of the nearest training video's class, by the mean absolute difference."""
    flat = features.reshape(len(features), -1).astype(np.float32)
    found = [
        labels[~is_test][np.abs(flat[~is_test] - video).mean(1).argmin()] for video in flat[is_test]
    ]
    return np.mean(found == labels[is_test])


# 72 test videos of 12 classes. Two clips share a background, so 36 draws are independent: by chance 1/12 is right with a
# standard deviation of 0.046 (0.048 over 12 seeds, measured, about a mean of 0.068). Three of them above chance is 0.22.
CHANCE, DEVIATION = 1 / 12, (1 / 12 * 11 / 12 / 36) ** 0.5


def test_appearance_tells_nothing_of_the_class(motions):
    pixels, labels, is_test, _ = motions
    assert (is_test.sum(), len(set(labels))) == (72, 12)
    for frame in (0, 5, 15):
        assert nearest_class(pixels[:, frame], labels, is_test) < CHANCE + 3 * DEVIATION
    assert nearest_class(pixels.mean(1), labels, is_test) < CHANCE + 3 * DEVIATION
    # Without the background: how one frame differs from the video's mean.
    shapes = np.abs(pixels[:, 8] - pixels.mean(1))
    assert nearest_class(shapes, labels, is_test) < CHANCE + 3 * DEVIATION


def test_nor_does_it_on_average_over_seeds():
    how = {"size": (24, 32), "fps": 25.0}
    places = [
        (name, group, number) for name in MOTIONS for group in range(1, 8) for number in (1, 2)
    ]
    labels, is_test = (
        np.array([name for name, _, _ in places]),
        np.array([group <= 3 for _, group, _ in places]),
    )
    accuracy = []
    for seed in range(6):
        settings = Settings(classes=tuple(MOTIONS), per_class=14, seconds=0.04, seed=seed, **how)
        clips = [clip_of(settings, "x", *place) for place in places]
        accuracy.append(
            nearest_class(np.stack([next(images(clip, **how)) for clip in clips]), labels, is_test)
        )
    assert np.mean(accuracy) < CHANCE + 3 * DEVIATION / 6**0.5


def test_a_group_would_give_its_class_away(motions):
    """The same measure sees what is there to be seen: with a clip of the group in training, most are right."""
    pixels, labels, _, _ = motions
    within = np.arange(len(labels)) % 2 == 0
    assert nearest_class(pixels.mean(1), labels, within) > 0.5


def test_motion_tells_the_class(motions):
    """Velocity by gradients (sums of Ix·It and Iy·It over the clip) tells the four moves apart: chance is 1/4."""
    pixels, labels, is_test, _ = motions
    moves = np.isin(labels, ["MoveLeft", "MoveRight", "MoveUp", "MoveDown"])
    grey = pixels[moves].mean(4)
    along = np.diff(grey, axis=1)[:, :, 1:-1, 1:-1]
    middle = (grey[:, 1:] + grey[:, :-1]) / 2
    right, down = (
        (middle[:, :, 1:-1, 2:] - middle[:, :, 1:-1, :-2]) / 2,
        (middle[:, :, 2:, 1:-1] - middle[:, :, :-2, 1:-1]) / 2,
    )
    velocity = np.stack(
        [-(g * along).sum((1, 2, 3)) / (g**2).sum((1, 2, 3)) for g in (right, down)], axis=1
    )
    assert (
        nearest_class(
            velocity / np.linalg.norm(velocity, axis=1, keepdims=True),
            labels[moves],
            is_test[moves],
        )
        > 0.9
    )


# ---------------------------------------------------------------- the same again, and wrong usage


def test_again_leaves_equal_files_alone_and_mends_others(tmp_path):
    first = write_dataset("ucf101", tmp_path, **TINY, **LEAST["ucf101"])
    every = [*first.videos, *first.files]
    stamps = [(p.stat().st_ino, p.stat().st_mtime_ns) for p in every]
    content = first.videos[3].read_bytes()
    first.videos[3].write_bytes(b"torn")
    first.files[0].unlink()
    again = write_dataset("ucf101", tmp_path, **TINY, **LEAST["ucf101"])
    assert again == first
    assert first.videos[3].read_bytes() == content
    kept = [k for k, path in enumerate(every) if path not in (first.videos[3], first.files[0])]
    assert [(every[k].stat().st_ino, every[k].stat().st_mtime_ns) for k in kept] == [
        stamps[k] for k in kept
    ]


def test_a_class_looks_the_same_whatever_others_there_are_and_another_seed_gives_others(tmp_path):
    how = {**TINY, **LEAST["ucf101"]}
    videos = {}
    for key, changed in {
        "a": {},
        "b": {"classes": ["orbit_cw", "grow", "shrink"]},
        "c": {"seed": 1},
    }.items():
        root = write_dataset("ucf101", tmp_path / key, **{**how, **changed}).root
        videos[key] = (root / "UCF-101/Grow/v_Grow_g02_c01.avi").read_bytes()
    assert videos["a"] == videos["b"] != videos["c"]


def test_a_folder_that_something_else_wrote_is_left_alone(tmp_path):
    (tmp_path / "ucf101").mkdir()
    (tmp_path / "ucf101/UCF-101").mkdir()
    with pytest.raises(UsageError, match=telling(tmp_path / "ucf101")):
        write_dataset("ucf101", tmp_path, **TINY, **LEAST["ucf101"])
    assert [p.name for p in (tmp_path / "ucf101").iterdir()] == ["UCF-101"]


@pytest.mark.parametrize(
    ("name", "how", "told"),
    [
        ("ucf11", {}, ("'ucf11'", "ucf101")),
        ("ucf101", {"classes": ["grow", "shrnk"]}, ("'shrnk'", "shrink")),
        ("ucf101", {"classes": ["grow"]}, ("grow",)),
        ("ucf101", {"classes": ["grow", "shrink", "grow"]}, ("grow", "shrink")),
        ("ucf101", {"per_class": 4}, ("class", 4, 5)),
        ("kinetics", {"per_class": 2}, ("class", 2)),
        ("aslan", {"classes": list(MOTIONS)}, ("classes", 12, 10)),
        ("aslan", {"per_class": 1}, ("class", 1)),
        ("thumos14", {"seconds": 5}, ("5 seconds",)),
        ("thumos14", {"per_class": 0}, ("class", 0)),
        ("hmdb51", {"size": (33, 48)}, ("33x48",)),
        ("hmdb51", {"seconds": 0}, (0,)),
    ],
)
def test_what_cannot_be_generated_is_one_sentence_and_nothing_is_written(tmp_path, name, how, told):
    with pytest.raises(UsageError, match=telling(*told)):
        write_dataset(name, tmp_path / "data", **how)
    assert not (tmp_path / "data").exists()


def test_the_command_writes_a_dataset_and_says_what_it_is(tmp_path):
    arguments = [
        "synth",
        "--dataset",
        "kinetics",
        "--per-class",
        "3",
        "--seconds",
        "0.5",
        "--size",
        "48x32",
        "--classes",
        "grow, shrink",
    ]
    result = CliRunner().invoke(cli, [*arguments, str(tmp_path)], catch_exceptions=False)
    told = "6 videos", "2 classes", "3 files", "kinetics", "generated"
    assert tells(result.output, tmp_path / "kinetics", *told)
    assert len(load_dataset("kinetics", root=tmp_path / "kinetics").items) == 2


def test_help_names_every_dataset_that_can_be_generated():
    assert tells(CliRunner().invoke(cli, ["synth", "--help"]).output, *generated_names())


def test_progress_counts_frames_for_videos_differ_in_length(tmp_path):
    seen = []
    write_dataset(
        "thumos14",
        tmp_path,
        classes=["grow", "move_up"],
        per_class=1,
        seconds=20.0,
        fps=2.0,
        size=(16, 16),
        progress=lambda *done: seen.append(done),
    )
    steps = {after - before for (before, _), (after, _) in itertools.pairwise(seen)}
    assert seen[0] == (0, seen[-1][1])
    assert seen[-1][0] == seen[-1][1]
    assert max(steps) == 40
    assert min(steps) < 40
