"""Every file of the zoo, through the whole extraction: right, or listed with a true reason, and no harm to the others."""

import os
from pathlib import Path

import numpy as np
import pytest
from conftest import SMALL, encode, featx
from extractions import SETTINGS
from odd_videos import OddVideo, make_zoo

from featx.extraction.verify import structure
from featx.store import info
from featx.store.reader import FeatureStore
from featx.video.reader import open_video
from featx.video.seek import index_video, read_frames
from featx.video.source import find_videos


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[OddVideo], Path]:
    folder = tmp_path_factory.mktemp("zoo")
    return make_zoo(folder / "zoo"), folder


@pytest.fixture(scope="module")
def extracted(zoo: tuple[list[OddVideo], Path]) -> tuple[dict[str, OddVideo], Path]:
    """The zoo with ten good videos among it, extracted by one command; by path as stored."""
    odd, folder = zoo
    for i in range(10):
        encode(folder / "zoo" / f"good{i}.mp4", 32, seed=i)
    paths = [os.fsencode(o.path) for o in odd] + [
        os.fsencode(folder / "zoo" / f"good{i}.mp4") for i in range(10)
    ]
    # The newline in a name cannot be in a list of paths: that file comes by its folder, all of them do.
    done = featx(
        "extract",
        "--model",
        "res3d_half",
        *SMALL,
        "--timeout",
        "30",
        folder / "zoo",
        folder / "out.h5",
        timeout=400,
    )
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert len(paths) > 100
    by_text = {s.text: s for s in find_videos([folder / "zoo"]).sources}
    by_path = {os.path.abspath(s.path): text for text, s in by_text.items()}
    return {
        by_path[os.path.abspath(o.path)]: o for o in odd if os.path.abspath(o.path) in by_path
    }, folder / "out.h5"


def test_the_zoo_is_large_and_a_folder_finds_nearly_all_of_it(zoo, extracted) -> None:
    odd, _ = zoo
    named_otherwise = {o.name for o in odd} - {o.name for o in extracted[0].values()}
    assert len(odd) >= 100
    # Files without a video's suffix are counted as ignored in a folder, and extracted when they are named.
    assert all(
        Path(o.path).suffix not in (".mp4", ".avi", ".mkv")
        for o in odd
        if o.name in named_otherwise
    ), named_otherwise


def test_every_file_is_extracted_right_or_listed_with_a_true_reason(extracted) -> None:
    odd, out = extracted
    wrong = []
    with FeatureStore(out) as store:
        stored = {v.attrs["path"]: v for v in store.values()}
        failed = dict(store.failures)
        assert structure(store) == []
        assert len(stored.keys() & failed.keys()) == 0
        for text, animal in odd.items():
            if animal.expect == "fail":
                reason = failed.get(text)
                if reason is None:
                    wrong.append(f"{animal.name}: extracted, but {animal.note}")
                elif not _true(reason, animal.reason_contains):
                    wrong.append(f"{animal.name}: the reason is {reason!r}")
                continue
            if text not in stored:
                wrong.append(f"{animal.name}: failed with {failed.get(text)!r}")
                continue
            attrs, times = stored[text].attrs, stored[text].clip_times
            if animal.frames is not None and attrs["frames"] != animal.frames:
                wrong.append(f"{animal.name}: {attrs['frames']} frames, not {animal.frames}")
            if animal.size is not None and (attrs["height"], attrs["width"]) != animal.size:
                wrong.append(
                    f"{animal.name}: {attrs['height']}x{attrs['width']}, not {animal.size}"
                )
            if animal.times is not None:
                expected = np.asarray(animal.times)[stored[text].clip_frames[:, 0]]
                if not np.allclose(times[:, 0], expected, atol=2e-3):
                    wrong.append(f"{animal.name}: clips start at {times[:, 0]}, not {expected}")
            for name in ("discontinuities", "guessed_times"):
                told, known = attrs.get(name, 0), getattr(animal, name)
                if told != known and not animal.damaged:
                    wrong.append(f"{animal.name}: {name} is {told}, not {known}")
                if name in attrs and not told:
                    wrong.append(f"{animal.name}: {name} is written where there is none")
            if not (times[:, 0] < times[:, 1]).all():
                wrong.append(f"{animal.name}: a clip lasts no time")
            if (
                animal.damaged
                and animal.name not in DAMAGE_THAT_NOTHING_TELLS
                and not _says_damaged(attrs)
            ):
                wrong.append(
                    f"{animal.name}: {attrs['frames']} frames, of {attrs['container_frames']}, none said to be damaged"
                )
            claimed = 0 if animal.name.startswith("claims") else attrs["container_frames"]
            if not animal.damaged and attrs["frames"] < 0.9 * claimed:
                wrong.append(f"{animal.name}: sound, but said to be shorter than it claims")
            if not animal.damaged and attrs["damaged_frames"]:
                wrong.append(
                    f"{animal.name}: sound, but {attrs['damaged_frames']} frames are said to be damaged"
                )
    assert wrong == []


def test_colours_are_those_of_the_matrix_and_range_that_a_file_names(zoo) -> None:
    found = {}
    for animal in zoo[0]:
        if animal.rgb is not None:
            for frame in open_video(animal.path):
                away = np.abs(frame.image().astype(int) - animal.rgb).max()
                found[animal.name] = max(away, found.get(animal.name, 0))
    assert len(found) == 12
    assert max(found.values()) <= 3, found


def test_single_frames_of_files_without_presentation_times(zoo) -> None:
    for name in ("reordered.mxf", "half_empty.avi", "bframes_h264.avi", "pictures.mjpeg"):
        path = zoo[1] / "zoo" / name
        images = [frame.image() for frame in open_video(path)]
        for number, frame in read_frames(path, index_video(path), [5, 18, 30]).frames.items():
            np.testing.assert_array_equal(frame.image(), images[number], err_msg=name)


# A Matroska file that is cut between two clusters: no packet is broken, and its header counts no frames.
DAMAGE_THAT_NOTHING_TELLS = {"cut_mkv_50"}


def _true(reason: str, words: str | None) -> bool:
    if "crashed" in reason or "hangs" in reason or "\n" in reason or len(reason) > 300:
        return False
    return words is None or any(word in reason.lower() for word in words.split("|"))


def _says_damaged(attrs: dict) -> bool:
    return attrs["damaged_frames"] > 0 or attrs["frames"] < attrs["container_frames"]


def test_info_lists_videos_whose_times_were_put_right(extracted) -> None:
    with FeatureStore(extracted[1]) as store:
        summary = info.summarise(store)
    restarts = {Path(i).name: n for i, n in summary["discontinuities"].items()}
    assert (restarts["restarts.ts"], restarts["restarts.mpg"]) == (1, 2)
    assert any(Path(i).name == "same_times" for i in summary["guessed_times"])
    assert {*summary["discontinuities"]} <= set(info.as_text(summary).replace(":", "").split())


def test_good_videos_beside_them_are_untouched(extracted, zoo, tmp_path: Path) -> None:
    from featx.extraction.extract import extract

    _, out = extracted
    folder = zoo[1] / "zoo"
    alone = tmp_path / "alone.h5"
    extract(
        [str(folder / "good*.mp4")],
        alone,
        settings=SETTINGS,
        root=str(folder),
    )
    with FeatureStore(out) as among, FeatureStore(alone) as by_themselves:
        assert len(by_themselves) == 10
        for video in by_themselves.values():
            np.testing.assert_array_equal(among[video.id]["pool5"], video["pool5"])
