"""What must hold before a number is made of a split."""

from __future__ import annotations

import numpy as np
import pytest
from feature_files import write_dataset, write_features
from told import telling, tells

from featx.errors import FeatxError, UsageError
from featx.tasks.features import open_features
from featx.tasks.splits import check_split, labels_of, load_splits

ROWS = [
    (f"{name}/{side}{i}.avi", name, side)
    for name in "ab"
    for side in ("train", "test")
    for i in range(2)
]
TRAINED = {
    "dataset": "set",
    "split": 1,
    "subset": "train",
    "videos": 4,
    "absent": 0,
    "chosen_on": None,
}


def features_of(folder, rows, *, weights=None, fingerprints=None):
    ids = [path.removesuffix(".avi") for path, *_ in rows]
    more = (
        {}
        if weights is None
        else {"weights": {"name": "mine", "sha256": "1" * 64, "seed": None, **weights}}
    )
    attrs = {i: {"fingerprint": text} for i, text in (fingerprints or {}).items()}
    return write_features(
        folder / "f.h5", {i: {"pool5": np.ones((1, 3))} for i in ids}, attrs=attrs, **more
    )


def split_of(folder, rows, header=("path", "label", "split")):
    (split,) = load_splits(write_dataset(folder / "set.csv", rows, header=header))
    return split


def test_a_sound_split_passes_and_says_nothing(tmp_path):
    split = split_of(tmp_path, ROWS)
    assert (split.title, split.classes, split.official) == ("set (own data)", ("a", "b"), False)
    assert labels_of(split.test.items).tolist() == [0, 0, 1, 1]
    with open_features(features_of(tmp_path, ROWS)) as features:
        assert check_split(split, [features]) == []


def test_an_official_dataset_has_all_its_splits(tmp_path):
    from featx.synthetic.layouts import write_dataset as write_videos

    write_videos(
        "hmdb51", tmp_path, classes=["move_left", "grow"], per_class=6, seconds=0.2, size=(32, 32)
    )
    splits = load_splits("hmdb51", root=tmp_path / "hmdb51")
    assert [each.test.split for each in splits] == [1, 2, 3]
    assert all(each.official and each.train.subset == "train" for each in splits)
    assert [
        each.test.split for each in load_splits("hmdb51", root=tmp_path / "hmdb51", split=2)
    ] == [2]
    with pytest.raises(UsageError, match=telling("split", 4, "hmdb51", 3)):
        load_splits("hmdb51", root=tmp_path / "hmdb51", split=4)


def test_a_video_on_both_sides_is_refused(tmp_path):
    split = split_of(tmp_path, [*ROWS, ("a/train0.avi", "a", "test")])
    with pytest.raises(FeatxError, match=telling("a/train0#2", "set (own data)")):
        check_split(split, [])


def test_a_group_on_both_sides_is_refused_within_a_class(tmp_path):
    header = ("path", "label", "split", "group")
    groups = {"train": ["g1", "g2"], "test": ["g3", "g4"]}
    rows = [(path, name, side, groups[side][i % 2]) for i, (path, name, side) in enumerate(ROWS)]
    check_split(split_of(tmp_path, rows, header), [])
    rows[2] = (*rows[2][:3], "g2")
    with pytest.raises(FeatxError, match=telling("a/test0", "a/train1", "g2", "set (own data)")):
        check_split(split_of(tmp_path, rows, header), [])


def test_the_same_content_under_two_names_is_refused(tmp_path):
    split = split_of(tmp_path, ROWS)
    path = features_of(tmp_path, ROWS, fingerprints={"b/test1": "same", "a/train0": "same"})
    with (
        open_features(path) as features,
        pytest.raises(FeatxError, match=telling("b/test1", "a/train0")),
    ):
        check_split(split, [features])


def test_every_class_has_videos_on_both_sides(tmp_path):
    rows = [row for row in ROWS if row[1:] != ("b", "test")]
    split = split_of(tmp_path, rows)
    with pytest.raises(FeatxError, match=telling("set (own data), test", "1 of 2", "b")):
        check_split(split, [])


@pytest.mark.parametrize("subset", ["test", "val"])
def test_a_checkpoint_that_saw_the_test_videos_is_refused(tmp_path, subset):
    path = features_of(tmp_path, ROWS, weights={"trained_on": {**TRAINED, "subset": subset}})
    split = split_of(tmp_path, ROWS)
    with open_features(path) as features:
        with pytest.raises(
            UsageError, match=telling("set (own data), test", "`allow_trained_on=True`")
        ):
            check_split(split, [features])
        (note,) = check_split(split, [features], allow_trained_on=True)
    assert tells(note, "accuracy")


def test_a_checkpoint_of_another_split_is_refused(tmp_path):
    """Fine-tuned on UCF101's split 1, C3D's fc6 "recognises" 89 % of split 2: facebookarchive/C3D, issue 156."""
    path = features_of(tmp_path, ROWS, weights={"trained_on": {**TRAINED, "split": 2}})
    with (
        open_features(path) as features,
        pytest.raises(UsageError, match=telling("set split 2, train", "set (own data), test")),
    ):
        check_split(split_of(tmp_path, ROWS), [features])


def test_its_own_split_s_training_side_and_other_datasets_are_told_or_nothing(tmp_path):
    split = split_of(tmp_path, ROWS)
    with open_features(features_of(tmp_path, ROWS, weights={"trained_on": TRAINED})) as features:
        (note,) = check_split(split, [features])
        assert tells(note, "pool5", "res3d", "mine", "set split 1, train")
    (tmp_path / "f.h5").unlink()
    with open_features(
        features_of(tmp_path, ROWS, weights={"trained_on": {**TRAINED, "dataset": "ucf101"}})
    ) as features:
        assert check_split(split, [features]) == []


@pytest.mark.parametrize("sides", [("train", "test"), ("test", "train")])
@pytest.mark.parametrize(
    "parts", [(("0", "5"), ("5", "9")), (("", ""), ("5", "9")), (("5", "9"), ("", ""))]
)
def test_parts_of_one_video_are_on_one_side(tmp_path, sides, parts):
    header = ("path", "label", "split", "start", "end")
    whole = [(*row, "", "") for row in ROWS]
    both = [("a/cut.avi", "a", side, *part) for side, part in zip(sides, parts, strict=True)]
    with pytest.raises(FeatxError, match=telling("a/cut", "a/cut#2", "set (own data)")):
        check_split(split_of(tmp_path, [*whole, *both], header), [])
    check_split(
        split_of(tmp_path, [*whole, both[0], (*both[1][:2], sides[0], *parts[1])], header), []
    )


def test_a_projection_that_was_fitted_on_test_videos_is_told(tmp_path):
    split = split_of(tmp_path, ROWS)

    def notes(layer="pool5", **on):
        projection = {
            "layer": layer,
            "dims": 3,
            "from": 9,
            "explained": 0.9,
            "file": "p.npz",
            "sha256": "0",
            "fitted_on": {"dataset": "set", "split": 1, "subset": "train"} | on,
        }
        path = write_features(
            tmp_path / "p.h5",
            {r[0][:-4]: {"pool5": np.ones((1, 3))} for r in ROWS},
            projection=projection,
        )
        with open_features(path) as features:
            return [note for note in check_split(split, [features]) if "projection" in note]

    assert notes() == notes(dataset="other", split=2) == notes(layer="prob", split=2) == []
    for on in ({"split": 2}, {"subset": "test"}):
        (note,) = notes(**on)
        assert tells(note, "set (own data), test")
