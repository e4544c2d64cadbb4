"""Weizmann by the names of its clips: one actor left out in turn, both releases, and what is missing or foreign."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import SHARED, needs
from told import telling, tells

from featx.datasets import load_dataset, load_whole
from featx.datasets.weizmann import ACTIONS, ACTORS
from featx.errors import FeatxError, UsageError


def weizmann(
    root: Path, *, without: tuple[str, ...] = (), more: tuple[str, ...] = (), folders: bool = True
) -> Path:
    """Write empty files by the names of the release of 90, but for some, and further ones in the root."""
    for action in ACTIONS:
        for name in (f"{actor}_{action}.avi" for actor in ACTORS):
            if name not in without:
                path = root / action / name if folders else root / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.touch()
    for name in more:
        (root / name).touch()
    return root


@pytest.mark.parametrize("folders", [True, False])
def test_each_of_nine_splits_leaves_one_actor_out(tmp_path: Path, folders: bool) -> None:
    root = weizmann(tmp_path, folders=folders)
    tested = []
    for split, actor in enumerate(ACTORS, start=1):
        train, test = (
            load_dataset("weizmann", root=root, split=split, subset=subset)
            for subset in ("train", "test")
        )
        assert {item.group for item in test.items} == {actor}
        assert {item.group for item in train.items} == set(ACTORS) - {actor}
        assert (len(train.items), len(test.items), train.classes) == (80, 10, ACTIONS)
        assert [item.label for item in test.items] == list(range(10))
        tested += [item.id for item in test.items]
    assert len(set(tested)) == 90
    assert tested[0] == "bend/daria_bend"
    with pytest.raises(UsageError, match=telling("split", 10, "weizmann", 9)):
        load_dataset("weizmann", root=root, split=10)


def test_the_release_of_93_has_lena_twice(tmp_path: Path) -> None:
    once = tuple(f"lena_{action}.avi" for action in ("run", "skip", "walk"))
    twice = tuple(
        f"lena_{action}{take}.avi" for action in ("run", "skip", "walk") for take in (1, 2)
    )
    root = weizmann(tmp_path / "93", without=once, more=twice)
    test = load_dataset("weizmann", root=root, split=1 + ACTORS.index("lena"), subset="test")
    assert [item.id for item in test.items if item.label == ACTIONS.index("run")] == [
        "run/lena_run1",
        "run/lena_run2",
    ]
    assert [item.id for item in test.items if ACTIONS[item.label].startswith("wave")] == [
        "wave1/lena_wave1",
        "wave2/lena_wave2",
    ]
    assert len(load_whole("weizmann", root=root).items) == 93
    weizmann(tmp_path / "93")
    with pytest.raises(FeatxError, match=telling("lena_run", "lena_run1")):
        load_dataset("weizmann", root=root)


def test_names_in_capitals_are_as_good(tmp_path: Path) -> None:
    root = weizmann(tmp_path, without=("eli_jack.avi",), more=("Eli_Jack.AVI",))
    assert "jack/Eli_Jack" in [item.id for item in load_dataset("weizmann", root=root).items]


def test_an_absent_clip_is_an_error_or_told(tmp_path: Path) -> None:
    root = weizmann(tmp_path, without=("ido_side.avi",))
    with pytest.raises(
        FeatxError, match=telling(1, "side/ido_side.avi", 80, "weizmann", "partial")
    ):
        load_dataset("weizmann", root=root)
    assert load_dataset("weizmann", root=root, partial=True).absent == 1
    # Without his side, split 4's test side has nine classes, and so has its training side.
    test = load_dataset("weizmann", root=root, split=4, subset="test", partial=True)
    assert (len(test.items), len(test.classes)) == (9, 9)


def test_videos_of_other_names_are_left_out_and_told(tmp_path: Path) -> None:
    root = weizmann(
        tmp_path,
        more=("dog.avi", "daria_walk_bag.avi", "moonwalk.avi", "zoe_run.avi", "eli_wave3.avi"),
    )
    found = load_dataset("weizmann", root=root)
    assert len(found.items) == 80
    (note,) = found.notes
    assert tells(note, 5, "daria_walk_bag", "dog", "eli_wave3")


def test_a_folder_without_any_says_what_to_get(tmp_path: Path) -> None:
    (tmp_path / "dog.avi").touch()
    where = tmp_path, "bend/daria_bend.avi", "Actions as Space-Time Shapes"
    with pytest.raises(UsageError, match=telling("weizmann", *where)):
        load_dataset("weizmann", root=tmp_path)


@needs("weizmann")
def test_the_real_clips_are_90() -> None:
    found = load_whole("weizmann", root=SHARED / "weizmann")
    assert (len(found.items), found.absent, found.notes) == (90, 0, ())
    assert {(item.label, item.group) for item in found.items} == {
        (label, actor) for label in range(10) for actor in ACTORS
    }
