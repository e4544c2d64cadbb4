"""`featx svm --folds`: every video tested once, on an SVM that saw no video of its group."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import SHARED, featx, needs
from feature_files import clustered, write_dataset, write_features
from told import telling, tells

from featx.errors import FeatxError, UsageError
from featx.tasks import svm
from featx.tasks.features import open_features
from featx.tasks.folds import load_folds
from featx.tasks.recognition import as_text, to_json
from featx.tasks.recognition._paper import VIDEOS, is_whole
from featx.tasks.splits import Split, check_split
from featx.tasks.tuning import divide

HEADER = ("path", "label", "split", "group")


def dataset(
    path: Path, *, classes: str = "abc", groups: int = 6, each: int = 2, grouped: bool = True
) -> Path:
    """Write a csv with `each` videos of every class and group; groups bear the same names in every class."""
    rows = [
        (
            f"{name}/g{group:02d}v{number}.avi",
            name,
            "train" if group else "test",
            f"g{group:02d}" if grouped else "",
        )
        for name in classes
        for group in range(groups)
        for number in range(each)
    ]
    return write_dataset(path / "set.csv", rows, header=HEADER)


def features_of(data: Path, *, spread: float = 2.5, seed: int = 0, **settings: Any) -> Path:
    """Write features of a csv's videos that lie around a centre a class."""
    with data.open() as file:
        rows = list(csv.DictReader(file))
    labels = ["abc".index(row["label"]) for row in rows]
    videos = zip(rows, clustered(labels, 20, seed=seed, spread=spread), strict=True)
    return write_features(
        data.with_name("f.h5"),
        {row["path"][:-4]: {"pool5": values} for row, values in videos},
        **settings,
    )


def sides(split: Split) -> tuple[set[str], set[str]]:
    return {item.id for item in split.train.items}, {item.id for item in split.test.items}


# ---------------------------------------------------------------- how videos are divided


@pytest.mark.parametrize("folds", [2, 4, 6])
def test_each_video_is_tested_once_and_no_group_is_on_both_sides(
    tmp_path: Path, folds: int
) -> None:
    found = load_folds(dataset(tmp_path), folds)
    assert [each.title for each in found] == [
        f"set (own data) fold {k} of {folds}" for k in range(1, folds + 1)
    ]
    tested = [item.id for each in found for item in each.test.items]
    assert len(tested) == len(set(tested)) == 36
    for each in found:
        train, test = sides(each)
        assert train | test == set(tested)
        assert not train & test
        # Across classes: the videos of g00 are all in one fold, whatever their class.
        assert not {item.group for item in each.train.items} & {
            item.group for item in each.test.items
        }
        assert check_split(each, []) == []
        # Groups are as large as one another here, so that the classes' shares come out equal.
        assert np.ptp(np.bincount([item.label for item in each.test.items], minlength=3)) == 0


def test_the_same_videos_are_divided_the_same_in_whatever_order_they_are_listed(
    tmp_path: Path,
) -> None:
    first = dataset(tmp_path)
    head, *rows = first.read_text().splitlines()
    other = tmp_path / "other" / "set.csv"
    other.parent.mkdir()
    other.write_text("\n".join([head, *np.random.default_rng(0).permutation(rows)]) + "\n")
    for path in {row.split(",")[0] for row in rows}:
        (other.parent / path).parent.mkdir(exist_ok=True)
        (other.parent / path).touch()
    assert [sides(each) for each in load_folds(first, 4)] == [
        sides(each) for each in load_folds(other, 4)
    ]


def test_without_groups_a_video_is_one_and_its_parts_stay_together(tmp_path: Path) -> None:
    rows = [
        (f"{name}/{i}.avi", name, side, "", "")
        for name in "ab"
        for side, i in [("train", 0), ("train", 1), ("test", 2)]
    ]
    parts = [("a/cut.avi", "a", "train", str(start), str(start + 1)) for start in range(3)]
    data = write_dataset(
        tmp_path / "set.csv", [*rows, *parts], header=("path", "label", "split", "start", "end")
    )
    for each in load_folds(data, 3):
        check_split(each, [])  # it raises where parts of one video are on both sides
    (whole,) = [
        each for each in load_folds(data, 3) if any("cut" in item.id for item in each.test.items)
    ]
    assert sum("cut" in item.id for item in whole.test.items) == 3


def test_own_data_need_no_sides_and_nothing_is_told_of_them(tmp_path: Path) -> None:
    rows = [(f"{name}/{i}.avi", name) for name in "ab" for i in range(4)]
    found = load_folds(write_dataset(tmp_path / "set.csv", rows, header=("path", "label")), 2)
    assert [len(each.test.items) for each in found] == [4, 4]
    assert found[0].train.notes == ()


@pytest.mark.parametrize(("folds", "told"), [(1, (2,)), (7, ("set", "6 groups"))])
def test_folds_that_are_no_number_of_them(
    tmp_path: Path, folds: int, told: tuple[object, ...]
) -> None:
    with pytest.raises(FeatxError, match=telling("folds", folds, *told)):
        load_folds(dataset(tmp_path), folds)


def test_more_folds_than_a_class_has_videos(tmp_path: Path) -> None:
    with pytest.raises(FeatxError, match=telling("set", 13)):
        load_folds(dataset(tmp_path, groups=12, each=1, grouped=False), 13)


def test_a_class_of_one_group_is_refused_or_with_partial_left_out(tmp_path: Path) -> None:
    data = dataset(tmp_path)
    with data.open("a") as file:
        file.write("d/only.avi,d,train,g00\n")
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "only.avi").touch()
    with pytest.raises(FeatxError, match=telling(1, 4, "set", "d", "partial")):
        load_folds(data, 3)
    found = load_folds(data, 3, partial=True)
    assert found[0].classes == ("a", "b", "c")
    assert tells(found[0].train.notes[0], "1 of 4", "d", "1 videos")
    assert sum(len(each.test.items) for each in found) == 36


# ---------------------------------------------------------------- what comes of it


def test_the_accuracy_is_over_all_videos_by_scikit_learn_from_scratch(tmp_path: Path) -> None:
    from sklearn.svm import LinearSVC

    data = dataset(tmp_path)
    file = features_of(data)
    found = svm(data, file, folds=4)
    right = 0
    with open_features(file) as features:
        for each in load_folds(data, 4):
            train, test = features.rows(each.train.items), features.rows(each.test.items)
            machine = LinearSVC(dual=False, tol=1e-8).fit(
                train, [item.label for item in each.train.items]
            )
            right += int((machine.predict(test) == [item.label for item in each.test.items]).sum())
    assert found.pooled is not None
    assert (int(found.pooled.right.sum()), len(found.pooled.right)) == (right, 36)
    assert 12 < right < 36
    assert found.confusion.sum() == 36
    values = [each.accuracy.value for each in found.splits]
    assert found.spread == (pytest.approx(np.std(values, ddof=1)), min(values), max(values))


def test_the_text_says_that_it_is_no_official_protocol(tmp_path: Path) -> None:
    data = dataset(tmp_path)
    found = svm(data, features_of(data), folds=4)
    lines = as_text(found).splitlines()
    assert tells(lines[2], "4-fold", "36 videos", "set")
    told = [line for line in lines if line.startswith(("fold ", "all videos", "mean"))]
    assert [line.split("  ")[0] for line in told] == [
        "fold 1",
        "fold 2",
        "fold 3",
        "fold 4",
        "all videos",
    ]
    assert found.pooled is not None
    assert f"{int(found.pooled.right.sum())} of 36 videos" in told[-1]
    assert any(
        line.startswith("over 4 folds: mean ") and "standard deviation" in line for line in lines
    )
    as_values = json.loads(json.dumps(to_json(found)))
    assert as_values["folds"] == 4
    assert as_values["all"]["of"] == 36
    assert as_values["all"]["low"] < as_values["all"]["value"] < as_values["all"]["high"]
    # With a video or two a fold, a resample may leave a fold empty: the mean over folds has no interval.
    assert as_values["mean"]["low"] is None
    assert [each["split"] for each in as_values["splits"]] == [1, 2, 3, 4]


def test_the_own_splits_are_reported_as_before(tmp_path: Path) -> None:
    data = dataset(tmp_path)
    found = svm(data, features_of(data))
    assert found.pooled is None
    assert "all videos" not in as_text(found)
    assert (to_json(found)["folds"], to_json(found)["all"]) == (None, None)


def test_labels_that_mean_nothing_come_out_at_chance(tmp_path: Path) -> None:
    """Of 180 videos of 3 classes right answers are binomial(180, 1/3): 99.9 % lie from 40 to 81."""
    data = dataset(tmp_path, groups=30, each=2)
    found = svm(data, features_of(data, spread=1e6), folds=5)
    assert found.pooled is not None
    assert 40 <= int(found.pooled.right.sum()) <= 81


def test_C_is_chosen_inside_each_training_side_with_groups_together(tmp_path: Path) -> None:
    data = dataset(tmp_path)
    found = svm(data, features_of(data), folds=3, C="cv")
    assert all(len(each.classifier.tunings) == 1 for each in found.splits)
    assert "fold 3: % over 4 folds of the training set by C: " in as_text(found)


def test_choosing_C_refuses_folds_that_lack_a_class() -> None:
    """Groups of several classes may put all of a class in one fold; a machine of fewer classes would be read wrongly."""
    labels = np.asarray([0, 0, 1, 1, 2, 2])
    with pytest.raises(FeatxError, match=telling("C")):
        divide(labels, ["g", "h", "g", "i", "g", "j"], classes="abc")


# ---------------------------------------------------------------- guards


def test_a_checkpoint_that_was_trained_on_fold_1_s_namesake_is_refused(tmp_path: Path) -> None:
    """Split 1's training side is no fold's: the numbers are equal by chance."""
    data = dataset(tmp_path)
    told = {
        "dataset": "set",
        "split": 1,
        "subset": "train",
        "videos": 30,
        "absent": 0,
        "chosen_on": None,
    }
    weights = {"name": "mine", "sha256": "1" * 64, "seed": None, "trained_on": told}
    file = features_of(data, weights=weights)
    with pytest.raises(UsageError, match=telling("set split 1", "3 folds", "`split=1`")):
        svm(data, file, folds=3)
    found = svm(data, file, folds=3, allow_trained_on=True)
    (note,) = (note for note in found.notes if tells(note, "set split 1"))
    assert tells(note, "accuracy")


def test_the_same_content_in_two_folds_is_refused(tmp_path: Path) -> None:
    data = dataset(tmp_path, classes="ab")
    with data.open() as lines:
        ids = [row["path"][:-4] for row in csv.DictReader(lines)]
    same = {i: {"fingerprint": "same"} for i in ("a/g00v0", "b/g03v1")}
    file = write_features(tmp_path / "f.h5", {i: {"pool5": np.ones(3)} for i in ids}, attrs=same)
    with pytest.raises(FeatxError, match=telling("a/g00v0", "b/g03v1", "set (own data) fold")):
        svm(data, file, folds=6)


def test_folds_are_no_official_split_whatever_their_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (first, *_) = load_folds(dataset(tmp_path), 3)
    fold = Split(train=first.train, test=first.test, official=True, folds=3)
    monkeypatch.setitem(VIDEOS, "set", {1: (len(first.train.items), len(first.test.items))})
    assert is_whole(Split(train=first.train, test=first.test, official=True))
    assert not is_whole(fold)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"split": 1}, ("split=1", "folds=3")),
        ({"save": "m.npz"}, (3, "folds")),
        ({"holdout": 0.5}, ("holdout=0.5",)),
    ],
)
def test_options_that_do_not_go_with_folds(
    tmp_path: Path, settings: dict[str, Any], told: tuple[object, ...]
) -> None:
    data = dataset(tmp_path)
    with pytest.raises(UsageError, match=telling(*told)):
        svm(data, tmp_path / "none.h5", folds=3, **settings)


def test_a_split_s_own_features_are_no_fold_s(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=telling("{split}", "folds")):
        svm(dataset(tmp_path), tmp_path / "{split}.h5", folds=3)


# ---------------------------------------------------------------- as a user runs it


def test_the_command_writes_predictions_and_a_picture(tmp_path: Path) -> None:
    data = dataset(tmp_path)
    out = ("--predictions", tmp_path / "p.csv", "--plot", tmp_path / "p.png")
    done = featx(
        "svm", "--dataset", data, "--features", features_of(data), "--folds", 3, "--json", *out
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["folds"] == 3
    with (tmp_path / "p.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len({row["id"] for row in rows}) == len(rows) == 36
    assert {row["fold"] for row in rows} == {"1", "2", "3"}
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")
    done = featx("svm", "--dataset", data, "--features", tmp_path / "f.h5", "--folds", 99)
    assert (done.returncode, done.stdout) == (1, "")
    assert tells(done.stderr, "99 folds")


@needs("ucf101")
def test_real_ucf101_is_divided_by_its_25_groups() -> None:
    found = load_folds("ucf101", 5, root=SHARED / "ucf101", partial=True)
    assert found[0].official
    assert [len({item.group for item in each.test.items}) for each in found] == [5] * 5
    assert sum(len(each.test.items) for each in found) == 271
    assert tells(found[0].train.notes[0], 13049, "ucf101")
