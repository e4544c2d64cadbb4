"""Features of one more video are those that `featx extract` would have stored."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
from conftest import encode
from tiny import NAME
from told import telling, tells

from featx.errors import FeatxError, UsageError
from featx.extraction.extract import extract
from featx.extraction.query import clip_at, fingerprint, query_features
from featx.extraction.settings import compose
from featx.store.reader import FeatureStore
from featx.tasks.retrieval import search

pytestmark = pytest.mark.usefixtures("tiny_network")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A feature file of three videos of 40 frames, beside them; two of a kind, and one of other pictures."""
    folder = tmp_path_factory.mktemp("query")
    for i in range(3):
        encode(folder / "videos" / f"v{i}.mp4", 40, seed=i)
    layers = ["pool5", "prob"]
    extract(
        [folder / "videos"],
        folder / "out.h5",
        settings=compose(model=NAME, weights="random", layers=layers, workers=1),
    )
    return folder / "out.h5"


def other_bytes(video: Path, to: Path) -> Path:
    """Write a video of the same frames in a file of other bytes: with an empty box more at its end."""
    to.write_bytes(video.read_bytes() + b"\0\0\0\x08free")
    return to


def test_a_files_own_video_comes_out_as_it_is_stored(made: Path) -> None:
    with FeatureStore(made) as store:
        video = store["v1"]
        for layer in ("pool5", "prob"):
            found = query_features(store, video.attr("path"), layer)
            np.testing.assert_array_equal(found.rows, video[layer])
        np.testing.assert_array_equal(found.clip_frames, video.clip_frames)
        np.testing.assert_array_equal(found.clip_times, video.clip_times)
        assert (found.span, found.notes) == ((0.0, 1.6), ())
        one = query_features(store, video.attr("path"), "pool5", at=0.7)
        # 25 frames a second, a clip every 8: 0.7 s is frame 17.
        assert one.clip_frames.tolist() == [[16, 24]]
        np.testing.assert_array_equal(one.rows, video["pool5"][2:3])


def test_a_video_that_is_not_in_the_file_is_computed_and_searched(
    made: Path, tmp_path: Path
) -> None:
    """torch computes the query and faiss searches, each with an OpenMP of its own, in one process."""
    copy = other_bytes(made.parent / "videos" / "v2.mp4", tmp_path / "copy.mp4")
    result = search(made, copy, at="0.7s", k=3, per_video=1)
    assert (result.query.computed, result.left_out, result.query.frames) == (True, [], (16, 24))
    assert (result.hits[0].video, result.hits[0].clip) == ("v2", 2)
    assert result.hits[0].cosine == pytest.approx(1.0, abs=1e-6)
    whole = search(made, copy, videos=True)
    stored = search(made, "v2", videos=True, own=True)
    assert [(h.video, h.cosine) for h in whole.hits] == [
        (h.video, pytest.approx(h.cosine, abs=1e-7)) for h in stored.hits
    ]
    assert whole.query.clips == 5


def test_a_file_of_the_feature_files_own_is_not_computed_again(
    made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("featx.extraction.query.query_features", None)
    result = search(made, made.parent / "videos" / "v0.mp4", at=0.1)
    assert (result.query.video, result.query.computed, result.left_out) == ("v0", False, ["v0"])
    assert tells(result.notes[0], "'v0'")
    with FeatureStore(made) as store:
        assert fingerprint(made.parent / "videos" / "v0.mp4") == store["v0"].attr("fingerprint")


def test_a_time_that_no_clip_shows_is_said(made: Path) -> None:
    """40 frames at 25 a second: 1.6 s; the last of the clips of 8 frames ends with them."""
    (note,) = search(made, "v0", at=1.6).notes
    assert tells(note, "0:01.6", "0:01.3-0:01.6")
    with pytest.raises(UsageError, match=telling("1.7 s", "1.6 s")):
        search(made, "v0", at=1.7)
    with (
        FeatureStore(made) as store,
        pytest.raises(UsageError, match=telling("1.7 s", "1.6 s")),
    ):
        query_features(store, store["v0"].attr("path"), "pool5", at=1.7)


@pytest.mark.parametrize(
    ("at", "clip"),
    [
        (0.0, 0),
        (0.99, 0),
        (1.0, 1),
        (2.5, 2),
        (3.4, 3),
        (3.6, 3),
        (5.0, 3),
        (5.5, 4),
        (7.0, 4),
        (8.0, 4),
    ],
)
def test_which_clip_shows_a_time(at: float, clip: int) -> None:
    """Two clips end to end, two that overlap, a hole from 4.5 to 6, and a tail that no clip shows."""
    times = np.asarray([[0, 1], [1, 2], [2, 3.5], [3, 4.5], [6, 7]], np.float64)
    assert clip_at(times, at, (0.0, 8.0)) == clip


def test_times_are_the_videos_own() -> None:
    with pytest.raises(UsageError, match=telling("1 s", 1.4, "2.4 s")):
        clip_at(np.asarray([[1.4, 2.4]]), 1.0, (1.4, 2.4))


def test_what_cannot_be_read_is_one_sentence(made: Path, tmp_path: Path) -> None:
    (tmp_path / "empty.mp4").write_bytes(b"")
    (tmp_path / "text.mp4").write_text("no video " * 1000)
    for name, at in (("empty.mp4", None), ("text.mp4", 0.5)):
        with pytest.raises(FeatxError, match=telling(tmp_path / name)) as error:
            search(made, tmp_path / name, at=at)
        assert not isinstance(error.value, UsageError)
    with FeatureStore(made) as store, pytest.raises(UsageError, match=telling("nowhere")):
        query_features(store, "nowhere", "pool5")


def changed(made: Path, to: Path, **settings: str) -> Path:
    to.write_bytes(made.read_bytes())
    with h5py.File(to, "a") as file:
        for name, text in settings.items():
            file.attrs[name] = text
    return to


def test_rows_of_another_kind_are_not_compared(made: Path, tmp_path: Path) -> None:
    copy = other_bytes(made.parent / "videos" / "v0.mp4", tmp_path / "copy.mp4")
    with h5py.File(made) as file:
        weights, decoder = file.attrs["weights"], file.attrs["decoder"]
    gone = changed(
        made,
        tmp_path / "gone.h5",
        weights=weights.replace('"random"', '"x", "file": "/x.safetensors"', 1),
    )
    with pytest.raises(UsageError, match=telling("/x.safetensors", "weights")):
        search(gone, copy)
    other = changed(
        made,
        tmp_path / "other.h5",
        weights=weights.replace('"source": ', '"sha": 1, "source": ', 1),
    )
    with pytest.raises(UsageError, match=telling("other.h5", "weights.sha", 1)):
        search(other, copy)
    older = changed(
        made, tmp_path / "older.h5", decoder=decoder.replace('"pyav": "', '"pyav": "0.', 1)
    )
    with FeatureStore(older) as store:
        (note,) = query_features(store, copy, "pool5").notes
    assert tells(note, "decoder.pyav")
