"""Similarity search against plain NumPy, and everything that can happen to an index."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import h5py
import numpy as np
import pytest
from click.testing import CliRunner
from conftest import encode, level
from feature_files import write_features
from pages import Read
from PIL import Image
from told import telling, tells

from featx.errors import FeatxError, UsageError
from featx.report.page import element, page
from featx.store.reader import FeatureStore
from featx.tasks.cli.search import index as index_command
from featx.tasks.cli.search import search as search_command
from featx.tasks.retrieval import (
    SearchResult,
    _faiss,
    _folder,
    _index,
    _nearest,
    _place,
    index,
    search,
)
from featx.tasks.retrieval._rows import Stored, unit
from featx.tasks.times import clock, seconds_of
from featx.video.source import Source
from featx.video.thumbnails import spread, thumbnails

DIMS = 12
Rows = Mapping[str, np.ndarray]


def clips(n: int, seed: int, dims: int = DIMS) -> np.ndarray:
    """Rows as a network's: not negative, each its own."""
    return (
        np.maximum(np.random.default_rng(seed).standard_normal((n, dims)), 0).astype(np.float32)
        + 0.01
    )


def feature_file(
    path: Path,
    videos: Rows,
    *,
    stride: int = 16,
    paths: Mapping[str, Path] | None = None,
    seed: int = 0,
) -> Path:
    """Write a feature file with these rows of pool5, a wider layer and prob; clips of 16 frames, 25 a second."""
    sources = {i: str((paths or {}).get(i, path.parent / f"{i}.mp4")) for i in videos}
    content = {
        i: {"path": source, "fingerprint": Source("", source).fingerprint() or f"of {i}"}
        for i, source in sources.items()
    }
    layers = {
        i: {"wide": np.repeat(rows, 2, axis=1), "pool5": rows, "prob": rows[:, :3]}
        for i, rows in videos.items()
    }
    write_features(
        path, layers, attrs=content, weights={"name": "random", "sha256": None, "seed": seed}
    )
    if stride != 16:
        with h5py.File(path, "a") as file:
            for video_id, rows in videos.items():
                starts = np.arange(len(rows)) * stride
                file[video_id]["clip_frames"][()] = np.stack([starts, starts + 16], axis=1)
                file[video_id]["clip_times"][()] = file[video_id]["clip_frames"][()] / 25
    return path


@pytest.fixture
def many() -> dict[str, np.ndarray]:
    return {f"v{i:02d}": clips(3 + i % 5, i) for i in range(20)}


@pytest.fixture
def out(tmp_path: Path, many: Rows) -> Path:
    return feature_file(tmp_path / "out.h5", many)


def brute_force(
    videos: Rows, query: np.ndarray, without: str, k: int
) -> list[tuple[str, int, float]]:
    """The k clips most like a row, by float64 products of rows normalised in float64."""
    query = query.astype(np.float64) / np.linalg.norm(query.astype(np.float64))
    found = []
    for video_id, rows in videos.items():
        wide = rows.astype(np.float64)
        cosines = wide @ query / np.linalg.norm(wide, axis=1)
        found += [
            (video_id, clip, float(c)) for clip, c in enumerate(cosines) if video_id != without
        ]
    return sorted(found, key=lambda each: -each[2])[:k]


def told(result: SearchResult) -> list[tuple[str, int | None, float]]:
    return [(hit.video, hit.clip, hit.cosine) for hit in result.hits]


def same(
    found: list[tuple[str, int | None, float]], expected: list[tuple[str, int, float]]
) -> None:
    assert [each[:2] for each in found] == [each[:2] for each in expected]
    # Rows are stored in float32: each of two vectors of length 1 is off by 6e-8 of it.
    np.testing.assert_allclose(
        [each[2] for each in found], [each[2] for each in expected], atol=3e-7
    )


def test_what_is_found_is_what_plain_products_find(out: Path, many: Rows) -> None:
    result = search(out, "v07", at="0:01.0", k=25, per_video=0)
    same(told(result), brute_force(many, many["v07"][1], "v07", 25))
    assert [hit.rank for hit in result.hits] == list(range(1, 26))
    assert (result.left_out, result.exact, result.recall, result.layer) == (
        ["v07"],
        True,
        None,
        "pool5",
    )
    first = result.hits[0]
    assert first.clip is not None
    assert first.frames == (16 * first.clip, 16 * first.clip + 16)
    assert first.times == (pytest.approx(first.frames[0] / 25), pytest.approx(first.frames[1] / 25))
    assert (result.query.times, result.query.clips, result.query.computed) == (
        (16 / 25, 32 / 25),
        1,
        False,
    )


def test_the_querys_own_clips_can_be_asked_for(out: Path) -> None:
    result = search(out, "v07", at=1, k=1, own=True)
    assert result.left_out == []
    assert told(result) == [("v07", 1, pytest.approx(1.0, abs=1e-6))]


def test_a_whole_video_is_the_mean_of_its_clips(out: Path, many: Rows) -> None:
    mean = many["v03"].astype(np.float64).mean(axis=0)
    same(told(search(out, "v03", k=9, per_video=0)), brute_force(many, mean, "v03", 9))


def test_videos_are_compared_by_their_means(out: Path) -> None:
    with FeatureStore(out) as store:
        means = store.video_level("pool5").astype(np.float64)
        order = [i for i in np.argsort(-(means @ means[3])) if i != 3][:5]
        expected = [
            (store.ids[i], None, pytest.approx(means[i] @ means[3], abs=3e-7)) for i in order
        ]
    assert told(search(out, "v03", k=5, videos=True)) == expected


def test_another_layer_has_its_own_index(out: Path, many: Rows) -> None:
    search(out, "v01")
    prob = {name: rows[:, :3] for name, rows in many.items()}
    same(
        told(search(out, "v01", at=0, k=7, per_video=0, layer="prob")),
        brute_force(prob, prob["v01"][0], "v01", 7),
    )
    assert sorted(path.name for path in (out.parent / "out.h5.index").iterdir()) == [
        "pool5",
        "prob",
    ]


def test_a_video_does_not_fill_the_list(tmp_path: Path) -> None:
    rows = {
        "long": np.repeat(clips(1, 1), 300, axis=0),
        "query": clips(1, 1),
        **{f"o{i}": clips(2, 9 + i) for i in range(5)},
    }
    out = feature_file(tmp_path / "out.h5", rows, stride=8)
    found = [(hit.video, hit.clip) for hit in search(out, "query", k=6).hits]
    # Of equal clips the first in time; the second overlaps it, for it begins half a clip later.
    assert found[:3] == [("long", 0), ("long", 2), ("long", 4)]
    assert all(video != "long" for video, _ in found[3:])
    assert [hit.clip for hit in search(out, "query", k=6, per_video=0).hits] == [0, 1, 2, 3, 4, 5]
    assert len(search(out, "query", k=100, per_video=1).hits) == 6


def test_copies_of_the_querys_file_are_left_out_too(tmp_path: Path, many: Rows) -> None:
    out = feature_file(tmp_path / "out.h5", many)
    with h5py.File(out, "a") as file:
        file["v05"].attrs["fingerprint"] = file["v02"].attrs["fingerprint"]
    assert search(out, "v02").left_out == ["v02", "v05"]


@pytest.mark.parametrize("exact", [True, False])
def test_adding_gives_what_building_at_once_gives(tmp_path: Path, many: Rows, exact: bool) -> None:
    grown = tmp_path / "grown.h5"
    for n in (5, 12, 20):
        feature_file(grown, dict(sorted(many.items(), key=lambda each: each[0][::-1])[:n]))
        done = index(grown, exact=exact)
    assert (done.done, done.added, done.videos) == ("added", 8, 20)
    assert index(grown).done == "nothing"
    fresh = feature_file(tmp_path / "fresh.h5", many)
    assert index(fresh, exact=exact).done == "built"
    for query in ("v00", "v13"):
        for videos in (False, True):
            a, b = (search(path, query, k=12, videos=videos) for path in (grown, fresh))
            assert told(a) == told(b)
            assert a.indexed is None


def test_only_new_rows_are_read(tmp_path: Path, many: Rows) -> None:
    out = feature_file(tmp_path / "out.h5", dict(list(many.items())[:5]))
    index(out)
    feature_file(out, many)
    with h5py.File(out, "a") as file:
        for i in range(5):
            file[f"v{i:02d}/pool5"][1:] = (
                np.nan
            )  # whoever reads them complains; the first is compared
    assert index(out).added == 15
    with pytest.raises(FeatxError, match=telling("finite")):
        index(out, index=tmp_path / "elsewhere")


def test_search_indexes_what_is_new_and_says_so(tmp_path: Path, many: Rows) -> None:
    plans = []
    out = feature_file(tmp_path / "out.h5", dict(list(many.items())[:5]))
    assert search(out, "v00", on_index=plans.append).videos == 5
    feature_file(out, many)
    result = search(out, "v00", on_index=plans.append)
    assert [(plan.new, plan.videos, plan.why) for plan in plans] == [(5, 5, ""), (15, 20, "")]
    assert result.indexed is not None
    assert (result.indexed.done, result.videos) == ("added", 20)


def test_what_is_gone_or_other_is_built_anew(tmp_path: Path, many: Rows) -> None:
    out = feature_file(tmp_path / "out.h5", many)
    index(out)
    feature_file(out, {name: rows for name, rows in many.items() if name != "v04"})
    assert index(out).why == "'v04' is not in the file any more"
    feature_file(out, {**many, "v02": clips(9, 99)})
    done = index(out)
    assert tells(done.why, "'v02'")
    assert (done.done, done.added) == ("built", 20)
    feature_file(out, many, seed=1)
    assert tells(index(out).why, "weights.seed", 0, 1)
    same(
        told(search(out, "v02", at=0, k=5, per_video=0)),
        brute_force(many, many["v02"][0], "v02", 5),
    )


def test_other_rows_of_the_same_videos_are_found(tmp_path: Path, many: Rows) -> None:
    out = feature_file(tmp_path / "out.h5", many)
    index(out)
    other = {name: clips(len(rows), 500 + n) for n, (name, rows) in enumerate(many.items())}
    feature_file(out, other)
    same(
        told(search(out, "v02", at=0, k=5, per_video=0)),
        brute_force(other, other["v02"][0], "v02", 5),
    )
    assert index(out).done == "nothing"


def test_a_copy_of_the_file_needs_no_other_index(
    out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index(out)
    os.utime(out, ns=(1, 1))
    result = search(out, "v00")
    assert result.indexed is None
    assert _manifest(out)["features"]["modified"] == 1
    os.utime(out, ns=(2, 2))
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write anywhere
    monkeypatch.setattr("featx.tasks.retrieval._search.index_store", None)
    assert search(out, "v00").indexed is None
    assert _manifest(out)["features"]["modified"] == 1


def _manifest(out: Path) -> dict:
    return json.loads((Path(f"{out}.index") / "pool5" / "manifest.json").read_text())


@pytest.mark.parametrize(
    "damage", ["rows shorter", "rows other", "table", "manifest", "cells", "gone"]
)
def test_a_damaged_index_is_built_anew(out: Path, damage: str, many: Rows) -> None:
    index(out, exact=damage != "cells")
    folder = Path(f"{out}.index") / "pool5"
    name = {"table": "videos-1.npz", "manifest": "manifest.json", "cells": "cells-1.faiss"}.get(
        damage, "rows-1.f32"
    )
    content = (folder / name).read_bytes()
    if damage == "gone":
        (folder / name).unlink()
    elif damage == "rows shorter":
        (folder / name).write_bytes(content[:-4])
    else:
        (folder / name).write_bytes(content[:70] + bytes([content[70] ^ 1]) + content[71:])
    if damage == "rows other":  # harmless to read: found where the whole index is checked
        assert tells(index(out).why, "rows-1.f32")
    result = search(out, "v02", at=0, k=5, per_video=0)
    same(told(result), brute_force(many, many["v02"][0], "v02", 5))
    assert index(out).done == "nothing"
    assert set(os.listdir(folder)) == {"lock", "manifest.json", *_files(out)}


def _files(out: Path) -> set[str]:
    manifest = _manifest(out)
    named = {
        segment[kind] for segment in manifest["segments"] for kind in ("rows", "means", "table")
    }
    return named | ({manifest["cells"]["file"]} if manifest["cells"] else set())


def test_a_manifest_cannot_name_files_elsewhere(out: Path) -> None:
    index(out)
    manifest = _manifest(out)
    manifest["segments"][0]["rows"] = "../../out.h5"
    (Path(f"{out}.index") / "pool5" / "manifest.json").write_text(json.dumps(manifest))
    assert "names files that are none of an index" in index(out).why
    assert out.exists()


@pytest.mark.parametrize(
    "lie",
    [
        {"id": 3},
        {"id": "v\0"},
        {"path": None},
        {"clips": "1"},
        {"clips": -1},
        {"frames": "many"},
        {"end": "late"},
        {"more": 1},
        "compressed",
        "frames as text",
        "times not finite",
    ],
    ids=str,
)
def test_a_table_that_lies_is_built_anew(out: Path, lie: dict | str, many: Rows) -> None:
    """Whoever made it has written down its digest too."""
    index(out)
    folder = Path(f"{out}.index") / "pool5"
    with np.load(folder / "videos-1.npz") as arrays:
        parts = dict(arrays)
    if isinstance(lie, dict):
        videos = json.loads(parts["videos"].tobytes())
        videos[1] |= lie
        parts["videos"] = np.frombuffer(json.dumps(videos).encode(), np.uint8)
    elif lie == "frames as text":
        parts["frames"] = parts["frames"].astype(str)
    elif lie == "times not finite":
        parts["times"] = parts["times"] * np.nan
    write = np.savez_compressed if lie == "compressed" else np.savez
    write(folder / "videos-1.npz", **parts)
    manifest = _manifest(out)
    digest = hashlib.sha256((folder / "videos-1.npz").read_bytes()).hexdigest()
    manifest["segments"][0]["sha256"]["videos-1.npz"] = digest
    (folder / "manifest.json").write_text(json.dumps(manifest))
    result = search(out, "v02", at=0, k=5, per_video=0)
    assert result.indexed is not None
    same(told(result), brute_force(many, many["v02"][0], "v02", 5))


KILLED = """
import os, signal, sys
import featx.tasks.retrieval._index as module
module.publish = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
module.index(sys.argv[1])
"""


def test_killed_before_its_end_the_old_index_stays(out: Path, many: Rows) -> None:
    index(out)
    before = _manifest(out)
    feature_file(out, {**many, "new": clips(4, 77)})
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, out], capture_output=True, text=True, timeout=60
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    folder = Path(f"{out}.index") / "pool5"
    assert (folder / "rows-2.f32").exists()
    assert _manifest(out) == before
    opened = _folder.open_index(folder)
    assert opened is not None
    assert len(opened.rows) == sum(map(len, many.values()))
    assert index(out).added == 1
    assert set(os.listdir(folder)) == {"lock", "manifest.json", *_files(out)}


def test_an_error_leaves_what_was_there(
    out: Path, many: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    index(out)
    before = _files(out)
    feature_file(out, {**many, "v01": clips(4, 77)})

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(_index, "publish", interrupted)
        with pytest.raises(KeyboardInterrupt):
            index(out)
    assert before <= set(os.listdir(Path(f"{out}.index") / "pool5"))
    assert _files(out) == before


def test_a_second_run_stops(out: Path) -> None:
    held = _folder.lock(Path(f"{out}.index") / "pool5")
    with pytest.raises(UsageError, match=telling("pool5", os.getpid())):
        index(out)
    held.close()
    assert index(out).done == "built"


def test_too_little_room_is_said_before(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(_place, "free_memory", lambda: 1e6)
        with pytest.raises(UsageError, match=telling("537 MB", "1 MB")):
            index(out, exact=False)
        assert index(out, exact=True).done == "built"
    real = os.statvfs

    class Full:
        f_bavail, f_frsize = 1, 512

    with monkeypatch.context() as patch:
        patch.setattr(
            os, "statvfs", lambda where: Full() if str(where).endswith("wide") else real(where)
        )
        with pytest.raises(UsageError, match=telling("wide", "0 MB")):
            index(out, layer="wide")


@pytest.mark.parametrize(
    ("arguments", "values"),
    [
        ({"query": "v99"}, ("'v99'",)),
        ({"query": "/"}, ("'/'", "'v00'")),
        ({"query": __file__, "by_id": True}, (__file__,)),
        ({"query": "v00", "at": 99}, ("99 s", "1.9 s")),
        ({"query": "v00", "k": 0}, ("k", 0)),
        ({"query": "v00", "per_video": -1}, ("video", -1)),
        ({"query": "v00", "layer": "pool"}, ("'pool'", "pool5")),
        ({"query": "v00", "html": "/"}, ("/", ".html")),
        ({"query": "v00", "html": "query.avi"}, ("query.avi", ".html")),
    ],
)
def test_wrong_usage(out: Path, arguments: dict, values: tuple[object, ...]) -> None:
    with pytest.raises(UsageError, match=telling(*values)):
        search(out, **arguments)


def test_a_row_without_direction_is_no_query_and_like_nothing(tmp_path: Path, many: Rows) -> None:
    out = feature_file(tmp_path / "out.h5", {**many, "zero": np.zeros((2, DIMS), np.float32)})
    with pytest.raises(FeatxError, match=telling("'zero'")):
        search(out, "zero")
    last = search(out, "v00", k=1000, per_video=0).hits[-1]
    assert (last.video, last.cosine) == ("zero", 0.0)


# Recall and cells.


def stored(tmp_path: Path, rows: np.ndarray) -> Stored:
    half = len(rows) // 2
    for name, part in (("a", rows[:half]), ("b", rows[half:])):
        (tmp_path / name).write_bytes(part.astype("<f4").tobytes())
    return Stored([(tmp_path / "a", half), (tmp_path / "b", len(rows) - half)], rows.shape[1])


def test_recall_is_the_share_of_what_is_truly_nearest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a search that finds even rows only, recall is the share of even rows among the true ones."""
    rows = unit(clips(400, 3))
    firsts = np.arange(0, 401, 8)

    def even(
        cells: object, queries: np.ndarray, k: int, *, probes: int, without: list[tuple[int, int]]
    ) -> tuple[object, np.ndarray]:
        order = np.argsort(-(queries @ rows.T)[0], kind="stable")
        ((start, end),) = without
        return None, order[(order % 2 == 0) & ((order < start) | (order >= end))][None, :k]

    class OneCell:
        nlist = 1

    monkeypatch.setattr(_faiss, "cells_search", even)
    _, recall = _nearest.measured(stored(tmp_path, rows), OneCell(), firsts)
    chosen = np.sort(np.random.default_rng(_nearest.SEED).choice(400, 100, replace=False))
    shares = []
    for query in chosen:
        cosines = rows.astype(np.float64) @ rows[query]
        true = [i for i in np.argsort(-cosines) if i // 8 != query // 8][:10]
        shares.append(np.mean([i % 2 == 0 for i in true]))
    assert (recall.at, recall.queries) == (10, 100)
    assert recall.value == pytest.approx(np.mean(shares), abs=1e-9)


def test_cells_find_what_they_promise(tmp_path: Path) -> None:
    rows = unit(clips(4000, 5, 24))
    here = stored(tmp_path, rows)
    cells = _faiss.train(here)
    _faiss.add(cells, here)
    probes, recall = _nearest.measured(here, cells, np.arange(0, 4001, 10))
    assert 4 < probes <= cells.nlist == 64
    assert recall.value >= _nearest.ENOUGH
    near = _nearest.Nearest(here, cells, probes=probes)
    found = []
    for i in range(0, 4000, 80):  # other queries than those that the number of cells was chosen by
        own = (i // 10 * 10, i // 10 * 10 + 10)
        cosines, numbers, _ = near(rows[i], 80, [own])
        assert not np.any((numbers >= own[0]) & (numbers < own[1]))
        np.testing.assert_allclose(
            cosines, rows[numbers].astype(np.float64) @ rows[i].astype(np.float64), atol=1e-12
        )
        true = rows @ rows[i]
        true[own[0] : own[1]] = -1
        found.append(len(set(numbers[:10]) & set(np.argsort(-true)[:10])) / 10)
    # 50 queries of 10: the share's standard error is below 0.01 where it is 0.98.
    assert np.mean(found) > recall.value - 0.04


def test_an_index_in_cells_says_its_recall(out: Path, many: Rows) -> None:
    done = index(out, exact=False)
    assert done.recall is not None
    assert (done.exact, done.recall.value) == (False, 1.0)
    result = search(out, "v02", at=0, k=5, per_video=0)
    assert (result.exact, result.recall) == (False, done.recall)
    same(told(result), brute_force(many, many["v02"][0], "v02", 5))
    # Everything but the query's own video, through all cells.
    assert len(search(out, "v02", k=1000, per_video=0).hits) == sum(
        len(rows) for name, rows in many.items() if name != "v02"
    )
    assert (index(out).done, index(out, exact=True).exact, index(out).exact) == (
        "nothing",
        True,
        True,
    )


def test_the_way_of_searching_goes_by_size(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_faiss, "EXACT_BYTES", 1000)
    assert not index(out).exact


def test_many_additions_become_one(
    tmp_path: Path, many: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_index, "MOST_SEGMENTS", 2)
    for n in (1, 2, 3):
        done = index(feature_file(tmp_path / "out.h5", dict(list(many.items())[:n])))
        if n == 2:
            assert index(tmp_path / "out.h5").done == "nothing"
    assert (done.done, done.why) == ("built", "it is of 2 additions")


# Times, pictures and the page.


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("12.5", 12.5),
        ("12.5s", 12.5),
        ("0", 0.0),
        (".5", 0.5),
        ("90", 90.0),
        ("1:02.5", 62.5),
        ("90:00", 5400.0),
        ("1:00:02.5s", 3602.5),
        (" 7 ", 7.0),
        (3, 3.0),
        ("1:60", None),
        ("1:60:00", None),
        ("-1", None),
        ("1e3", None),
        ("", None),
        ("s", None),
        ("1:2:3:4", None),
        ("٣", None),
        (-1, None),
        (float("nan"), None),
    ],
)
def test_times_as_they_are_written(text: str | float, seconds: float | None) -> None:
    if seconds is None:
        with pytest.raises(UsageError, match=telling(text)):
            seconds_of(text)
    else:
        assert seconds_of(text) == pytest.approx(seconds)


def test_times_as_they_are_shown() -> None:
    assert [clock(t) for t in (0, 12.54, 59.96, 3599.99, 3723.4)] == [
        "0:00.0",
        "0:12.5",
        "1:00.0",
        "1:00:00.0",
        "1:02:03.4",
    ]


def test_thumbnails_are_the_frames_of_the_clip(tmp_path: Path) -> None:
    video = encode(tmp_path / "v.mp4", 40, size=(240, 320))
    found = thumbnails(video, (8, 24))
    assert spread(8, 24, 4) == [10, 14, 18, 22]
    images = [Image.open(io.BytesIO(jpeg)) for jpeg in found]
    assert {(image.format, image.size) for image in images} == {("JPEG", (160, 120))}
    # The texture adds 29.5 on the mean; the encoders' errors are a level or two.
    for image, frame in zip(images, (10, 14, 18, 22), strict=True):
        assert np.asarray(image).mean() == pytest.approx(level(frame) + 29.5, abs=4)
    assert len(thumbnails(video, (3, 5))) == 2
    with pytest.raises(FeatxError, match=telling("40 frames", "frame 52")):
        thumbnails(video, (38, 54))


ODD = '<b>&"x'


def test_the_page_holds_everything_and_runs_nothing(tmp_path: Path) -> None:
    video = encode(tmp_path / f"{ODD}'.mp4", 40)
    changed = encode(tmp_path / "changed.mp4", 40)
    out = feature_file(
        tmp_path / "out.h5",
        {ODD: clips(2, 1), "changed": clips(2, 2), "gone": clips(2, 3), "query": clips(2, 4)},
        paths={
            ODD: video,
            "changed": changed,
            "query": video.rename(tmp_path / f"{ODD}.mp4").parent / f"{ODD}.mp4",
        },
    )
    video = tmp_path / f"{ODD}.mp4"
    with h5py.File(out, "a") as file:
        file[ODD].attrs.update(path=str(video), fingerprint=Source("", str(video)).fingerprint())
        file["query"].attrs["fingerprint"] = ""
    encode(changed, 41)
    result = search(out, "query", html=tmp_path / "sub" / "page.html", per_video=0)
    text = (tmp_path / "sub" / "page.html").read_text(encoding="utf-8")
    read = Read(text)
    assert not {"script", "link", "iframe", "a", "b"} & set(read.tags)
    assert not re.search(
        r"https?:|//[a-z]|url\(|@import| on\w+=", re.sub(r"base64,[A-Za-z0-9+/=]*", "", text)
    )
    sources = [value for tag, name, value in read.attributes if tag == "img" and name == "src"]
    assert (
        len(sources) == 4 * 3
    )  # the query's clip, and both clips of the one video that is as it was
    assert all(
        value is not None and value.startswith("data:image/jpeg;base64,") for value in sources
    )
    alts = [value for tag, name, value in read.attributes if tag == "img" and name == "alt"]
    assert any(value == f"frame 1 of 4: {ODD}, 0:00.0-0:00.6" for value in alts)
    assert ODD in read.texts
    assert f"{tmp_path}/{ODD}.mp4" in read.texts
    lacking = [text for text in read.texts if text.startswith("no picture")]
    assert sorted(lacking.count(text) for text in set(lacking)) == [2, 2]  # gone, and changed
    assert len([note for note in result.notes if "no picture" in note]) == 2
    before = text
    search(out, "query", html=tmp_path / "sub" / "page.html", per_video=0)
    assert (tmp_path / "sub" / "page.html").read_text(encoding="utf-8") == before


def test_a_page_takes_any_text() -> None:
    odd = "a\n\x00\udcff\u202e</title><script>"
    text = page(odd, [element("p", odd, title=odd)])
    text.encode("utf-8")
    assert "<script>" not in text
    assert Read(text).texts.count("a\\n\\x00\\udcff\\u202e</title><script>") == 2


# The command line.


def test_commands(out: Path, tmp_path: Path) -> None:
    runner = CliRunner()
    built = runner.invoke(index_command, [str(out)])
    assert tells(built.stderr, "pool5", "12 numbers", "20 videos", "100 clips")
    assert tells(built.stdout, "pool5", "100 clips", "20 videos")
    assert (
        json.loads(runner.invoke(index_command, [str(out), "--json"]).stdout)["done"] == "nothing"
    )
    found = runner.invoke(search_command, [str(out), "v03", "--at", "1s", "-k", "4"])
    lines = found.stdout.splitlines()
    assert tells(lines[0], "v03", "0:00.6-0:01.3")
    assert tells(lines[1], "v03")
    assert [line.split()[0] for line in lines[5:9]] == ["1", "2", "3", "4"]
    page = tmp_path / "page.html"
    shown = json.loads(
        runner.invoke(
            search_command, [str(out), "v03", "--videos", "--json", "--html", str(page)]
        ).stdout
    )
    assert (len(shown["hits"]), shown["query"]["clips"], page.exists()) == (10, 6, True)
