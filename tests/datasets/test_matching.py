"""Which of a feature file's videos is which item: the right one, or a sentence, never another one."""

from __future__ import annotations

import pytest
from told import telling

from featx.datasets import Item, match_ids
from featx.errors import FeatxError


def item(item_id, path=None):
    return Item(id=item_id, path=path or f"/data/set/{item_id}.avi", label=0)


@pytest.mark.parametrize(
    "known",
    [
        "a/v_1",  # as the dataset's folder gives it
        "UCF-101/a/v_1",  # extracted from further up
        "v_1",  # from the class's own folder
        "a/v_1.avi",  # with the suffix, as another library writes it, or beside v_1.mp4
        "./a/v_1.avi",
    ],
)
def test_an_id_relative_to_whatever_folder_is_found(known):
    assert match_ids([item("a/v_1", "/data/UCF-101/a/v_1.avi")], [known, "a/v_2", "b/v_11"]) == {
        "a/v_1": known
    }


def test_a_video_of_another_folder_is_another_video():
    """Own data: 001.avi of one class is not 001.avi of another."""
    assert match_ids([item("a/001")], ["b/001"]) == {}
    assert match_ids([item("a/001"), item("b/001")], ["b/001", "a/001"]) == {
        "a/001": "a/001",
        "b/001": "b/001",
    }


def test_names_that_are_unique_by_protocol_are_enough():
    assert match_ids([item("a/v_1")], ["flat/v_1"]) == {}
    assert match_ids([item("a/v_1")], ["flat/v_1"], unique_names=True) == {"a/v_1": "flat/v_1"}


def test_a_name_with_dots_is_no_suffix():
    assert match_ids([item("a/x.y", "/d/a/x.y.avi")], ["a/x.z", "a/x.y"]) == {"a/x.y": "a/x.y"}


def test_the_id_that_agrees_over_most_folders_is_taken():
    wanted = item("a/1", "/data/train/a/1.avi")
    assert match_ids([wanted], ["test/a/1", "train/a/1"]) == {"a/1": "train/a/1"}


def test_what_is_ambiguous_is_refused():
    with pytest.raises(FeatxError, match=telling("'p/a/1'", "'q/a/1'", "a/1")):
        match_ids([item("a/1", "/d/x/a/1.avi")], ["p/a/1", "q/a/1"])
    with pytest.raises(FeatxError, match=telling("'1'", "a/1", "b/1")):
        match_ids([item("a/1"), item("b/1")], ["1"])
    with pytest.raises(FeatxError, match=telling("'a/1'", "'a/1.avi'")):
        match_ids([item("a/1")], ["a/1", "a/1.avi"])


def test_parts_of_one_video_share_its_features():
    parts = [item("v#1", "/d/v.mp4"), item("v#2", "/d/v.mp4")]
    assert match_ids(parts, ["v"]) == {"v#1": "v", "v#2": "v"}
