"""Datasets: the official lists as they are distributed, what is not there, and one's own folders and csv files."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from conftest import SHARED, needs
from told import telling, tells

from featx.datasets import data_folder, dataset_names, load_dataset, load_whole
from featx.errors import FeatxError, UsageError
from featx.report import write_csv


def touch(root, *names):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode())


def ids(dataset):
    return [item.id for item in dataset.items]


def labels(dataset):
    return [dataset.classes[item.label] for item in dataset.items]


# ---------------------------------------------------------------- UCF101


CLIPS = [
    f"{c}/v_{c}_g{g:02d}_c{k:02d}.avi"
    for c in ("Archery", "Biking", "Diving")
    for g in (1, 2, 8)
    for k in (1, 2)
]


def ucf101(root, *, train=None, test=None, videos=CLIPS):
    """UCF101 with three classes of three groups, group 1 on the test side; line ends as distributed."""
    lists = root / "ucfTrainTestlist"
    write(lists / "classInd.txt", "1 Archery\r\n2 Biking\r\n3 Diving\r\n")
    number = {"Archery": 1, "Biking": 2, "Diving": 3}
    train = [c for c in CLIPS if "_g01_" not in c] if train is None else train
    test = [c for c in CLIPS if "_g01_" in c] if test is None else test
    write(lists / "trainlist01.txt", "".join(f"{c} {number[c.split('/')[0]]}\r\n" for c in train))
    write(lists / "testlist01.txt", "".join(f"{c}\r\n" for c in test))
    (root / "UCF-101").mkdir(parents=True)
    touch(root / "UCF-101", *videos)
    return root


def test_ucf101_is_read_in_the_lists_order_with_its_groups(tmp_path):
    root = ucf101(tmp_path / "u")
    train, test = (load_dataset("ucf101", root=root, subset=s) for s in ("train", "test"))
    assert ids(train) == [c[:-4] for c in CLIPS if "_g01_" not in c]
    assert ids(test) == [c[:-4] for c in CLIPS if "_g01_" in c]
    assert train.classes == test.classes == ("Archery", "Biking", "Diving")
    assert labels(train) == [c.split("/")[0] for c in CLIPS if "_g01_" not in c]
    assert [item.group for item in train.items[:3]] == ["g02", "g02", "g08"]
    assert {item.path for item in train.items} == {
        str(root / "UCF-101" / c) for c in CLIPS if "_g01_" not in c
    }
    assert (train.title, train.absent) == ("ucf101 split 1, train", 0)


def test_the_folder_of_datasets_is_the_environment_s(tmp_path, monkeypatch):
    ucf101(tmp_path / "ucf101")
    monkeypatch.setenv("FEATX_DATA", str(tmp_path))
    assert len(load_dataset("ucf101").items) == 12
    monkeypatch.delenv("FEATX_DATA")
    assert data_folder() == Path("data")


def test_a_clip_may_lie_elsewhere_in_another_container_but_not_twice(tmp_path):
    root = ucf101(tmp_path, videos=[f"all/{c.split('/')[1][:-4]}.MP4" for c in CLIPS])
    assert load_dataset("ucf101", root=root).items[0].path == str(
        root / "UCF-101/all/v_Archery_g02_c01.MP4"
    )
    touch(root / "UCF-101", "v_Archery_g02_c01.avi")
    with pytest.raises(FeatxError, match=telling("v_Archery_g02_c01.avi", "v_Archery_g02_c01.MP4")):
        load_dataset("ucf101", root=root)


def test_a_group_on_both_sides_is_an_error(tmp_path):
    root = ucf101(tmp_path, test=["Biking/v_Biking_g08_c02.avi"])
    with pytest.raises(FeatxError, match=telling("Biking/v_Biking_g08_c02", "train", "test")):
        load_dataset("ucf101", root=root)


@pytest.mark.parametrize(
    "line",
    ["Archery/v_Archery_g01_c01.avi 2", "Rowing/v_Rowing_g01_c01.avi", "Archery/v_Archery.avi"],
)
def test_a_list_that_is_not_ucf101s_is_an_error_with_its_line(tmp_path, line):
    root = ucf101(tmp_path)
    with (root / "ucfTrainTestlist/testlist01.txt").open("a") as file:
        file.write(line + "\r\n")
    with pytest.raises(FeatxError, match=telling("testlist01.txt", 7)):
        load_dataset("ucf101", root=root)


# ---------------------------------------------------------------- what is not there


@pytest.mark.parametrize("name", dataset_names())
def test_a_missing_dataset_says_in_one_message_what_to_get_from_where_and_where_to(tmp_path, name):
    with pytest.raises(UsageError) as raised:
        load_dataset(name, root=tmp_path / "nowhere")
    text = str(raised.value)
    assert tells(text, name, tmp_path / "nowhere")
    assert "http" in text
    assert "\n" not in text
    assert tells(text, "featx synth", "--dataset") == (name in ("ucf101", "hmdb51", "kinetics"))


def test_a_half_unpacked_dataset_says_which_half_is_missing(tmp_path):
    root = ucf101(tmp_path)
    (root / "ucfTrainTestlist/testlist01.txt").unlink()
    with pytest.raises(UsageError, match=telling("testlist01.txt")):
        load_dataset("ucf101", root=root)


def test_absent_videos_are_an_error_with_count_examples_and_remedy(tmp_path):
    root = ucf101(tmp_path, videos=CLIPS[:4])
    with pytest.raises(FeatxError) as raised:
        load_dataset("ucf101", root=root)
    examples = "Archery/v_Archery_g08_c01.avi", "Biking/v_Biking_g02_c01.avi"
    assert tells(raised.value, 10, *examples, 12, "partial")


def test_partial_keeps_the_classes_that_both_sides_have(tmp_path):
    # Archery is whole, Biking has nothing for testing, Diving lacks one clip of either side.
    lacking = {
        "Biking/v_Biking_g01_c01.avi",
        "Biking/v_Biking_g01_c02.avi",
        "Diving/v_Diving_g01_c02.avi",
        "Diving/v_Diving_g08_c01.avi",
    }
    root = ucf101(tmp_path, videos=[c for c in CLIPS if c not in lacking])
    train, test = (
        load_dataset("ucf101", root=root, subset=s, partial=True) for s in ("train", "test")
    )
    assert train.classes == test.classes == ("Archery", "Diving")
    assert labels(train) == ["Archery"] * 4 + ["Diving"] * 3
    assert labels(test) == ["Archery"] * 2 + ["Diving"]
    assert (train.absent, test.absent) == (1, 3)
    assert tells(train.notes[0], 1, "Biking", 3, 4)


def test_partial_with_one_side_alone_takes_that_side_s_classes(tmp_path):
    root = ucf101(tmp_path, videos=[c for c in CLIPS if "_g01_" in c])
    assert len(load_dataset("ucf101", root=root, subset="test", partial=True).items) == 6
    with pytest.raises(FeatxError, match=telling(12, "train", root)):
        load_dataset("ucf101", root=root, partial=True)


def test_partial_with_fewer_than_two_classes_is_an_error(tmp_path):
    root = ucf101(tmp_path, videos=CLIPS[:6])
    with pytest.raises(FeatxError, match=telling(1, "ucf101", root)):
        load_dataset("ucf101", root=root, partial=True)


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ({"split": 4}, ("split", 4, "ucf101", 3)),
        ({"split": 0}, ("split", 0)),
        ({"subset": "val"}, ("val", "train", "test")),
    ],
)
def test_a_side_or_split_that_no_protocol_has_is_an_error(tmp_path, how, told):
    with pytest.raises(UsageError, match=telling(*told)):
        load_dataset("ucf101", root=ucf101(tmp_path), **how)


def test_an_unknown_name_and_a_root_for_a_path_are_errors(tmp_path):
    with pytest.raises(UsageError, match=telling("ufc101", "ucf101")):
        load_dataset("ufc101")
    with pytest.raises(UsageError, match=telling(tmp_path, "root")):
        load_dataset(tmp_path, root=tmp_path)


# ---------------------------------------------------------------- HMDB51


def test_hmdb51_takes_ones_and_twos_and_leaves_zeros(tmp_path):
    lists = tmp_path / "testTrainMulti_7030_splits"
    write(
        lists / "kick_test_split2.txt",
        "A_kick_f_cm_np1_ba_med_1.avi 1 \nA_kick_f_cm_np1_ba_med_2.avi 0 \nB!_(1)_kick_f_cm_np1_ba_med_0.avi 2 \n",
    )
    write(
        lists / "kick_ball_test_split2.txt",
        "C_kick_ball_f_nm_np1_fr_goo_0.avi 2 \nkick_ball_D_kick_ball_f_nm_np1_fr_goo_0.avi 1 \n",
    )
    touch(tmp_path / "hmdb51_org", "kick/A_kick_f_cm_np1_ba_med_1.avi", "kick/B!_(1)_kick_f_cm_np1_ba_med_0.avi",
          "C_kick_ball_f_nm_np1_fr_goo_0.avi", "kick_ball/kick_ball_D_kick_ball_f_nm_np1_fr_goo_0.avi")  # fmt: skip
    train, test = (
        load_dataset("hmdb51", root=tmp_path, split=2, subset=s) for s in ("train", "test")
    )
    assert train.classes == test.classes == ("kick", "kick_ball")
    assert sorted(zip(labels(train), ids(train), [i.group for i in train.items], strict=True)) == [
        ("kick", "kick/A_kick_f_cm_np1_ba_med_1", "kick/A"),
        ("kick_ball", "kick_ball/kick_ball_D_kick_ball_f_nm_np1_fr_goo_0", "kick_ball/kick_ball_D"),
    ]
    assert sorted(i.group for i in test.items) == ["kick/B!_(1)", "kick_ball/C"]


# ---------------------------------------------------------------- the official lists


@needs("ucf101", "hmdb51")
def test_ucf101_official_counts_and_groups(tmp_path):
    lists = SHARED / "ucf101/ucfTrainTestlist"
    names = {
        line.split()[0]
        for path in lists.glob("t*list01.txt")
        for line in path.read_text().split("\n")
        if line.strip()
    }
    touch(tmp_path / "UCF-101", *names)
    (tmp_path / "ucfTrainTestlist").symlink_to(lists)
    assert len(names) == 13320
    for split, counts in enumerate([(9537, 3783), (9586, 3734), (9624, 3696)], start=1):
        train, test = (
            load_dataset("ucf101", root=tmp_path, split=split, subset=s) for s in ("train", "test")
        )
        assert (len(train.items), len(test.items)) == counts
        assert len(train.classes) == 101
        # Stronger than what the reader checks, class by class: a test side is seven group numbers of every class.
        assert {i.group for i in test.items} == {
            f"g{g:02d}" for g in range(7 * split - 6, 7 * split + 1)
        }
        assert not {i.group for i in train.items} & {i.group for i in test.items}


@needs("ucf101", "hmdb51")
def test_hmdb51_official_counts_and_groups(tmp_path):
    lists = SHARED / "hmdb51/testTrainMulti_7030_splits"
    names = {
        line.split()[0]
        for path in lists.glob("*_split1.txt")
        for line in path.read_text().split("\n")
        if line.strip()
    }
    touch(tmp_path / "videos", *names)
    (tmp_path / "testTrainMulti_7030_splits").symlink_to(lists)
    assert len(names) == 6766
    for split in (1, 2, 3):
        train, test = (
            load_dataset("hmdb51", root=tmp_path, split=split, subset=s) for s in ("train", "test")
        )
        assert (len(train.items), len(test.items), len(train.classes)) == (3570, 1530, 51)
        assert not {i.group for i in train.items} & {i.group for i in test.items}


@needs("ucf101", "hmdb51")
def test_the_real_ucf101_clips_that_are_here():
    train, test = (
        load_dataset("ucf101", root=SHARED / "ucf101", subset=s, partial=True)
        for s in ("train", "test")
    )
    assert (len(train.classes), len(train.items), len(test.items)) == (11, 196, 75)
    assert (train.absent, test.absent) == (9537 - 196, 3783 - 75)
    assert {i.group for i in test.items} == {f"g{g:02d}" for g in range(1, 8)}


@needs("weizmann")
def test_a_real_folder_of_class_folders():
    train, test = (load_dataset(SHARED / "weizmann", subset=s) for s in ("train", "test"))
    assert len(train.classes) == 10
    assert len(train.items) + len(test.items) == 90


# ---------------------------------------------------------------- Kinetics, Sports-1M, ActivityNet


KINETICS = "label,youtube_id,time_start,time_end,split\n"


@pytest.mark.parametrize(
    ("lists", "folder"),
    [
        ("{}.csv", ""),
        ("annotations/{}.csv", "{side}/{label}/"),
        ("kinetics400/kinetics-400_{}.csv", "videos/{side}/{label}/"),
    ],
)
def test_kinetics_as_its_distributors_lay_it_out(tmp_path, lists, folder):
    rows = {
        "train": 'riding a bike,-a_bCdEfGh1,3,13,train\n"clean, jerk",xyzxyzxyz_9,120,130,train\n',
        "val": '"clean, jerk",00000000000,1,11,val\n',
    }
    for side, text in rows.items():
        write(tmp_path / lists.format(side), KINETICS + text)
    for side, label, clip in [
        ("train", "riding a bike", "-a_bCdEfGh1_000003_000013"),
        ("train", "clean, jerk", "xyzxyzxyz_9_000120_000130"),
        ("val", "clean, jerk", "00000000000_000001_000011"),
    ]:
        touch(tmp_path, folder.format(side=side, label=label) + clip + ".mp4")
    train, val = (load_dataset("kinetics", root=tmp_path, subset=s) for s in ("train", "val"))
    assert train.classes == val.classes == ("clean, jerk", "riding a bike")
    assert list(zip(ids(train), labels(train), strict=True)) == [
        ("-a_bCdEfGh1_000003_000013", "riding a bike"),
        ("xyzxyzxyz_9_000120_000130", "clean, jerk"),
    ]
    assert val.items[0].group == "00000000000"


def test_kinetics_lists_without_labels_twice_or_of_another_kind_are_errors(tmp_path):
    write(tmp_path / "test.csv", "youtube_id,time_start,time_end,split\n00000000000,1,11,test\n")
    with pytest.raises(FeatxError, match=telling("test.csv")):
        load_dataset("kinetics", root=tmp_path, subset="test")
    write(tmp_path / "val.csv", KINETICS)
    write(tmp_path / "annotations/validate.csv", KINETICS)
    with pytest.raises(FeatxError, match=telling("val.csv", "validate.csv")):
        load_dataset("kinetics", root=tmp_path, subset="val")
    (tmp_path / "val.csv").unlink()
    write(tmp_path / "train.csv", "video,label\na.mp4,1\n")
    with pytest.raises(FeatxError, match=telling("train.csv", 2)):
        load_dataset("kinetics", root=tmp_path)


@pytest.mark.parametrize("packed", [False, True])
def test_sports1m_trains_the_first_label_and_keeps_the_others(tmp_path, packed):
    clone = tmp_path / "sports-1m-dataset"
    write(clone / "labels.txt", "boomerang\nkung fu\npökelcross\n")
    lists = {"train": "https://www.youtube.com/watch?v=UDqivjS-lpI 2,0\nhttps://www.youtube.com/watch?v=-_0 0\n",
             "test": "https://www.youtube.com/watch?v=aaa 1\n"}  # fmt: skip
    for side, text in lists.items():
        path = clone / f"original/{side}_partition.txt"
        write(path, text)
        if packed:
            path.with_suffix(".txt.gz").write_bytes(gzip.compress(text.encode()))
            path.unlink()
    touch(tmp_path / "videos", "UDqivjS-lpI.webm", "-_0.mp4", "sub/aaa.mp4")
    train = load_dataset("sports1m", root=tmp_path)
    assert train.classes == ("boomerang", "kung fu", "pökelcross")
    assert [(i.id, i.label, i.also) for i in train.items] == [
        ("UDqivjS-lpI", 2, (0,)),
        ("-_0", 0, ()),
    ]
    assert tells(train.notes[0], 1, 2)
    # Only kung fu is left to test: no class is on both sides.
    with pytest.raises(FeatxError, match=telling(0, "sports1m", tmp_path)):
        load_dataset("sports1m", root=tmp_path, partial=True)


def test_a_further_label_is_renumbered_with_the_classes(tmp_path):
    write(tmp_path / "labels.txt", "a\nb\nc\n")
    write(
        tmp_path / "train_partition.txt",
        "http://www.youtube.com/watch?v=x 2,0,1\nhttp://www.youtube.com/watch?v=y 1\n",
    )
    write(
        tmp_path / "test_partition.txt",
        "http://www.youtube.com/watch?v=z 2\nhttp://www.youtube.com/watch?v=w 1\n",
    )
    touch(tmp_path / "videos", *(f"{v}.mp4" for v in "xyzw"))
    train = load_dataset("sports1m", root=tmp_path, partial=True)
    assert train.classes == ("b", "c")
    assert [(i.label, i.also) for i in train.items] == [(1, (0,)), (0, ())]


def test_a_sports1m_line_with_a_label_too_many_is_an_error(tmp_path):
    write(tmp_path / "labels.txt", "a\nb\n")
    write(
        tmp_path / "train_partition.txt",
        "http://www.youtube.com/watch?v=x 0\nhttp://www.youtube.com/watch?v=y 2\n",
    )
    touch(tmp_path / "videos", "x.mp4")
    with pytest.raises(FeatxError, match=telling("train_partition.txt", 2, "2'")):
        load_dataset("sports1m", root=tmp_path)


def activitynet(root):
    def video(subset, *segments):
        return {
            "subset": subset,
            "annotations": [{"label": label, "segment": [a, b]} for label, a, b in segments],
        }

    database = {
        "-abc": video("training", ("Surfing", 1.5, 20), ("Archery", 30, 31.25)),
        "v_d": video("training", ("Archery", 0, 3)),
        "xyz": video("validation", ("Surfing", 0.5, 2)),
        "tst": video("testing"),
    }
    write(
        root / "activity_net.v1-3.min.json",
        json.dumps({"database": database, "taxonomy": [], "version": "VERSION 1.3"}),
    )
    touch(root / "videos", "v_-abc.mp4", "v_d.mkv", "val/v_xyz.webm")
    return root


def test_activitynet_has_an_item_a_segment(tmp_path):
    train = load_dataset("activitynet", root=activitynet(tmp_path))
    assert train.classes == ("Archery", "Surfing")
    assert [(i.id, i.label, i.start, i.end, i.group) for i in train.items] == [
        ("-abc#1", 1, 1.5, 20.0, "-abc"), ("-abc#2", 0, 30.0, 31.25, "-abc"), ("v_d#1", 0, 0.0, 3.0, "v_d"),
    ]  # fmt: skip
    assert ids(load_dataset("activitynet", root=tmp_path, subset="val")) == ["xyz#1"]


def test_activitynet_s_withheld_test_labels_and_a_damaged_file_are_errors(tmp_path):
    with pytest.raises(FeatxError, match=telling("testing")):
        load_dataset("activitynet", root=activitynet(tmp_path), subset="test")
    write(tmp_path / "activity_net.v1-3.min.json", '{"database": {"a": {"subset": "training"}}}')
    with pytest.raises(FeatxError, match=telling("activity_net.v1-3.min.json")):
        load_dataset("activitynet", root=tmp_path)


# ---------------------------------------------------------------- one's own


def test_a_folder_with_its_own_sides(tmp_path):
    touch(
        tmp_path,
        "train/b/1.mp4",
        "train/b/2.mp4",
        "train/b/notes.txt",
        "train/a/1.avi",
        "val/a/3.mkv",
        "val/b/x/4.mp4",
    )
    train, val = (load_dataset(tmp_path, subset=s) for s in ("train", "val"))
    assert (ids(train), labels(train)) == (["train/a/1", "train/b/1", "train/b/2"], ["a", "b", "b"])
    assert (ids(val), labels(val)) == (["val/a/3", "val/b/x/4"], ["a", "b"])
    assert train.notes == ()
    with pytest.raises(UsageError, match=telling("test", "train", "val")):
        load_dataset(tmp_path, subset="test")


def test_a_class_without_test_videos_is_said(tmp_path):
    touch(tmp_path, "train/a/1.mp4", "train/b/1.mp4", "test/a/2.mp4")
    (note,) = load_dataset(tmp_path, subset="test").notes
    assert tells(note, 1, 2, "b")


def test_a_plain_folder_holds_the_last_groups_out(tmp_path):
    touch(
        tmp_path,
        *(f"{c}/{c}_g{g:02d}_c{k:02d}.mp4" for c in "ab" for g in (1, 2, 3, 4, 5) for k in (1, 2)),
        "b/single.mp4",
    )
    train, test = (load_dataset(tmp_path, subset=s, holdout=0.4) for s in ("train", "test"))
    # Two of five groups, both clips of each; "b" has a sixth, the lone file, whose name is its group.
    assert [i.split("/")[1] for i in ids(test) if i[0] == "a"] == [
        "a_g04_c01",
        "a_g04_c02",
        "a_g05_c01",
        "a_g05_c02",
    ]
    assert {i.group for i in test.items if i.label == 0}.isdisjoint(
        {i.group for i in train.items if i.label == 0}
    )
    assert len(ids(train)) + len(ids(test)) == 21
    assert not set(ids(train)) & set(ids(test))
    assert tells(test.notes[0], "40%", len(test.items))
    assert tells(test.title, tmp_path.name, "own data", "40%", "test")
    assert tells(train.title, "own data", "40%", "train")
    assert load_whole(tmp_path).called == f"{tmp_path.name} (own data)"


@pytest.mark.parametrize("side", ["train/", ""])
def test_own_data_named_like_an_official_dataset_is_not_titled_like_it(tmp_path, side):
    folder = tmp_path / "weizmann"
    held = "test/" if side else ""
    touch(folder, *(f"{where}{c}/{n}.mp4" for c in "ab" for where, n in ((side, 1), (held, 2))))
    test = load_dataset(folder, subset="test")
    assert tells(test.title, "weizmann", "own data", "test", *([] if side else ["20%"]))
    assert "split" not in test.title


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (["a/1.mp4", "b/1.mp4", "b/2.mp4"], "class 'a'"),
        (["a/1.mp4", "a/2.mp4"], "'a'"),
        (["a/1.mp4", "a/2.mp4", "b/1.txt"], "/b"),
        (["1.mp4", "2.mp4"], ""),
    ],
)
def test_folders_that_are_no_dataset_are_errors(tmp_path, names, told):
    touch(tmp_path, *names)
    with pytest.raises(UsageError, match=telling(tmp_path, told)):
        load_dataset(tmp_path)


def test_a_csv_with_parts_of_videos_groups_and_sides(tmp_path):
    touch(tmp_path, "v/1.mp4", "v/2.mp4")
    write(tmp_path / "my.csv", "path,label,split,start,end,group\nv/1.mp4,run,train,,2.5,p1\nv/1.mp4,walk,training,2.5,,p1\n"
                               "v/2.mp4,run,test,,,\n")  # fmt: skip
    train, test = (load_dataset(tmp_path / "my.csv", subset=s) for s in ("train", "test"))
    assert [(i.id, i.label, i.start, i.end, i.group) for i in train.items] == [
        ("v/1", 0, None, 2.5, "p1"), ("v/1#2", 1, 2.5, None, "p1"),
    ]  # fmt: skip
    assert test.items[0].path == str(tmp_path / "v/2.mp4")
    (note,) = test.notes
    assert tells(note, 1, 2, "walk")


def test_a_csv_of_featx_gives_the_names_that_it_marked_for_spreadsheets(tmp_path):
    touch(tmp_path, "-1.mp4", "=2.mp4")
    rows = [("-1.mp4", "@a", "train"), ("=2.mp4", "+b", "train"), ("=2.mp4", "@a", "test")]
    write_csv(tmp_path / "my.csv", ("path", "label", "split"), rows)
    assert (tmp_path / "my.csv").read_text().splitlines()[1] == "'-1.mp4,'@a,train"
    train, test = (load_dataset(tmp_path / "my.csv", subset=s) for s in ("train", "test"))
    assert sorted(train.classes) == ["+b", "@a"]
    assert [i.path for i in (*train.items, *test.items)] == [
        str(tmp_path / name) for name in ("-1.mp4", "=2.mp4", "=2.mp4")
    ]


def test_a_csv_whose_videos_are_not_all_there(tmp_path):
    touch(tmp_path, "1.mp4", "2.mp4", "3.mp4", "4.mp4")
    rows = "".join(f"{n}.mp4,{'ab'[n % 2]}\n" for n in range(1, 7))
    write(tmp_path / "my.csv", "path,label\n" + rows)
    told = telling(2, "5.mp4", "6.mp4", tmp_path / "my.csv", "relative", f"folder, {tmp_path}")
    with pytest.raises(FeatxError, match=told):
        load_dataset(tmp_path / "my.csv", subset="test")
    partial = load_dataset(tmp_path / "my.csv", partial=True)
    assert (len(partial.items), partial.absent) == (4, 0)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("file,class\na.mp4,x\n", ("file", "class", "path", "label")),
        ("path,label\na.mp4,\n", ("line 2", "label")),
        ("path,label,split\na.mp4,x,dev\n", ("line 2", "split", "'dev'")),
        ("path,label,start,end\na.mp4,x,0,2\nb.mp4,y,3,3\n", ("line 3", "3.0")),
        ("path,label,start\na.mp4,x,soon\n", ("line 2", "start", "'soon'")),
        ("path,label\n", ()),
        ("path,label,split\na.mp4,x,train\nb.mp4,y,train\n", ("train", "test")),
    ],
)
def test_a_csv_that_cannot_be_read_says_where(tmp_path, text, told):
    write(tmp_path / "my.csv", text)
    with pytest.raises(FeatxError, match=telling("my.csv", *told)):
        load_dataset(tmp_path / "my.csv")


def test_a_video_listed_twice_is_an_error(tmp_path):
    root = ucf101(tmp_path, train=[CLIPS[2], CLIPS[2], CLIPS[8]])
    with pytest.raises(FeatxError, match=telling("Archery/v_Archery_g02_c01", "ucf101")):
        load_dataset("ucf101", root=root)
