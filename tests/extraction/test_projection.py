"""A projection's file, and extraction that stores a layer's rows projected by it."""

from __future__ import annotations

import io
import json
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from conftest import encode, same_content
from feature_files import write_features
from projections import FITTED_ON, projection_of, saved
from settings import with_fields
from tiny import NAME
from told import telling, tells

from featx import create_model
from featx.errors import UsageError
from featx.extraction.backends.eager import EagerBackend
from featx.extraction.extract import extract
from featx.extraction.projection import read_projection
from featx.extraction.settings import Hooks, compose
from featx.extraction.verify import verify
from featx.store.info import as_text, summarise
from featx.store.reader import FeatureStore
from featx.store.writer import merge

SETTINGS = compose(model=NAME, weights="random", layers=["res5a", "pool5"], workers=1)


pytestmark = pytest.mark.usefixtures("tiny_network")


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clips")
    for i in range(3):
        encode(folder / f"{i}.mp4", 26 + 13 * i, size=(32, 40), seed=i)
    return folder


@pytest.fixture(scope="module")
def plain(clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The rows as they are."""
    out = tmp_path_factory.mktemp("plain") / "plain.h5"
    extract([clips], out, settings=SETTINGS)
    return out


@pytest.fixture(scope="module")
def small(plain: Path) -> Path:
    """A projection of res5a's rows to 6 numbers."""
    with FeatureStore(plain) as store:
        width = store[store.ids[0]].dataset("res5a").shape[1]
        return saved(plain.parent / "small.npz", projection_of(width, 6, settings=store.settings))


@pytest.fixture(scope="module")
def projected(clips: Path, small: Path) -> Path:
    """All rows, res5a's projected."""
    out = small.parent / "projected.h5"
    assert extract([clips], out, settings=with_fields(SETTINGS, project=small)).notes == []
    return out


def test_what_is_written_is_read_and_gives_the_same_bytes(tmp_path: Path) -> None:
    projection = projection_of(7, 3)
    path = saved(tmp_path / "sub" / "a.npz", projection)
    found = read_projection(path)
    np.testing.assert_array_equal(found.components, projection.components)
    np.testing.assert_array_equal(found.mean, projection.mean)
    assert (found.layer, found.dims, found.width, found.explained, found.fitted_on) == (
        "res5a",
        3,
        7,
        0.75,
        FITTED_ON,
    )
    assert found.settings == projection.settings
    assert found.file == str(path)
    assert saved(tmp_path / "b.npz", projection).read_bytes() == path.read_bytes()
    with pytest.raises(UsageError, match=telling(path, "sha256", "000000000000")):
        read_projection(path, sha256="0" * 64)


def test_rows_are_brought_to_length_1_then_centred_then_projected() -> None:
    projection = projection_of(7, 3)
    rows = np.random.default_rng(1).normal(size=(5, 7)).astype(np.float32)
    rows[4] = 0
    unit = [row / max(1e-30, np.sqrt(sum(float(x) ** 2 for x in row))) for row in rows]
    expected = [[sum((u - m) * c for u, m, c in zip(row, projection.mean, axis, strict=True)) for axis in projection.components]
                for row in unit]  # fmt: skip
    np.testing.assert_allclose(
        projection(rows), expected, atol=1e-6
    )  # numbers below 1 in float32, of which 7 are summed
    np.testing.assert_allclose(projection(100 * rows), projection(rows), atol=1e-6)
    with pytest.raises(UsageError, match=telling(6, 7)):
        projection(rows[:, :6])


def _arrays(*, compressed: bool = False, **changed: Any) -> bytes:
    projection = projection_of(7, 3)
    about = {"format": "featx-projection", "format_version": 1, "layer": "res5a", "settings": {}, "fitted_on": FITTED_ON,
             "explained": 0.5, **changed.pop("about", {})}  # fmt: skip
    arrays = {
        "mean": projection.mean,
        "components": projection.components,
        "about": json.dumps(about),
        **changed,
    }
    content = io.BytesIO()
    write = np.savez_compressed if compressed else np.savez
    write(content, **{name: value for name, value in arrays.items() if value is not None})
    return content.getvalue()


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", ()),
        (b"PK not a zip", ()),
        (_arrays()[:-100], ()),
        (pickle.dumps([1]), ()),
        (_arrays(compressed=True), ()),  # it may be any size unpacked
        (_arrays(mean=None), ()),
        (_arrays(mean=np.array([None])), ()),
        (_arrays(about={"format": "x"}), ()),
        (_arrays(about={"format_version": 2}), (2, 1)),
        (_arrays(about={"layer": 3, "explained": None}), ("layer", "explained")),
        (_arrays(about={"fitted_on": {"dataset": "x"}}), ("split", "subset", "videos")),
        (_arrays(mean=np.zeros(6, np.float32)), ("float32", "(6,)", "(3, 7)")),
        (_arrays(mean=np.zeros(7)), ("float64", "(7,)")),
        (_arrays(mean=np.full(7, np.nan, np.float32)), ("finite",)),
    ],
)
def test_a_file_that_is_none_or_damaged_is_refused_in_a_sentence(
    tmp_path: Path, content: bytes, told: tuple[object, ...]
) -> None:
    path = tmp_path / "a.npz"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=telling(path, *told)):
        read_projection(path)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=telling(tmp_path / "a.npz")):
        read_projection(tmp_path / "a.npz")


def test_a_row_does_not_depend_on_its_place_or_its_neighbours() -> None:
    """To the bit, at widths whose rows begin at no multiple of 64 bytes."""
    extractor = EagerBackend(create_model(NAME, seed=0), ["pool5"], device="cpu")
    for width in (37, 487, 1000):
        extractor.project(projection_of(width, 9, layer="pool5"))
        rows = torch.from_numpy(np.random.default_rng(width).random((8, width), np.float32))
        found = extractor.finish({"pool5": rows})["pool5"]
        order = torch.tensor([5, 2, 7, 0, 1, 6, 3, 4])
        assert torch.equal(extractor.finish({"pool5": rows[order]})["pool5"], found[order])
        for i in range(8):
            assert torch.equal(
                extractor.finish({"pool5": rows[i : i + 1].clone()})["pool5"][0], found[i]
            )


def test_projected_rows_are_stored_and_the_file_says_so(
    plain: Path, small: Path, projected: Path
) -> None:
    projection = read_projection(small)
    with FeatureStore(plain) as raw, FeatureStore(projected) as store:
        assert store.ids == raw.ids
        for video in store.values():
            assert video.dataset("res5a").shape == (len(video), 6)
            # Products of float32 numbers below 1, a thousand a sum, in two libraries' orders.
            np.testing.assert_allclose(
                video["res5a"], projection(raw[video.id]["res5a"]), atol=1e-5
            )
            np.testing.assert_array_equal(video["pool5"], raw[video.id]["pool5"])
        said = store.settings.to_json()["projection"]
        assert said == {"layer": "res5a", "dims": 6, "from": projection.width, "length_1_first": True, "fitted_on": FITTED_ON,
                        "explained": 0.75, "file": str(small), "sha256": projection.sha256}  # fmt: skip
        assert store[store.ids[0]].dataset("res5a").clip_shape == (6,)
        text = as_text(summarise(store))
    assert tells(text, "res5a", 6, projection.width, "PCA")
    assert tells(text, "40 videos", "ucf101 split 1, train", "75.0%")
    with h5py.File(plain) as before, h5py.File(projected) as after:
        # A featx that knows no projection must not take these rows for the layer's own; it reads the other file as ever.
        assert (before.attrs["format_version"], after.attrs["format_version"]) == (1, 2)
        assert "projection" not in before.attrs


def test_a_clip_s_views_are_averaged_before_it_is_projected(
    clips: Path, small: Path, tmp_path: Path
) -> None:
    settings = SETTINGS.changed(crops="ten")
    extract([clips / "0.mp4"], tmp_path / "raw.h5", settings=settings)
    with FeatureStore(tmp_path / "raw.h5") as raw:
        projection = replace(read_projection(small), settings=raw.settings)
        extract(
            [clips / "0.mp4"],
            tmp_path / "out.h5",
            settings=with_fields(settings, project=saved(tmp_path / "ten.npz", projection)),
        )
        with FeatureStore(tmp_path / "out.h5") as store:
            np.testing.assert_allclose(
                store[store.ids[0]]["res5a"], projection(raw[raw.ids[0]]["res5a"]), atol=1e-5
            )


def test_interrupted_and_spread_over_runs_the_content_is_the_same(
    clips: Path, small: Path, tmp_path: Path
) -> None:
    settings = with_fields(SETTINGS, project=small).changed(batch_size=2)
    extract([clips], tmp_path / "whole.h5", settings=settings)

    def stop(stats: Any) -> None:
        if (
            stats.decoded_clips >= 10
        ):  # of 13; there is room for three batches, so that two at least have been computed
            raise KeyboardInterrupt

    out = tmp_path / "out.h5"
    with pytest.raises(KeyboardInterrupt):
        extract([clips], out, settings=settings, hooks=Hooks(on_progress=stop))
    assert not out.exists()
    with pytest.raises(UsageError, match=telling("projection", 6, "res5a")):
        extract([clips], out, settings=with_fields(SETTINGS, batch_size=2))
    again = extract([clips], out, settings=settings)
    assert again.failures == []
    assert 0 < again.clips <= 9
    same_content(tmp_path / "whole.h5", out)
    for half in ("20", "1"):  # each clip at other places in its batch
        extract(
            [clips / f"{i}.mp4" for i in half],
            tmp_path / f"{half}.h5",
            settings=settings,
            root=str(clips),
        )
    merge([tmp_path / "20.h5", tmp_path / "1.h5"], tmp_path / "merged.h5")
    same_content(tmp_path / "whole.h5", tmp_path / "merged.h5")


def test_another_projection_or_none_on_the_same_file_is_refused(
    clips: Path, plain: Path, small: Path, projected: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.h5"
    out.write_bytes(projected.read_bytes())
    other = saved(tmp_path / "other.npz", replace(read_projection(small), explained=0.5))
    with pytest.raises(UsageError, match=telling("projection", 6, "res5a", "sha256")):
        extract([clips / "1.mp4"], out, settings=with_fields(SETTINGS, project=other))
    with pytest.raises(UsageError, match=telling("projection", 6, "res5a")):
        extract([clips], plain, settings=with_fields(SETTINGS, project=small))
    with pytest.raises(UsageError, match=telling("projection")):
        merge([plain, out], tmp_path / "merged.h5")
    moved = tmp_path / "moved.npz"
    moved.write_bytes(small.read_bytes())
    assert extract([clips], out, settings=with_fields(SETTINGS, project=moved)).failures == [], (
        "the same content under another name"
    )


def test_a_projection_of_other_rows_is_refused(clips: Path, small: Path, tmp_path: Path) -> None:
    settings = with_fields(SETTINGS, project=small)
    for changed, differ in [
        ({"seed": 1}, ("weights.seed", 0, 1)),
        ({"layers": ["pool5"]}, ("res5a", "pool5")),
        ({"frames": 8}, ("clip.frames", 4, 8)),
        ({"crops": "ten"}, ("transform.crops", "center", "ten")),
        ({"fps": 12.5}, ("clip.fps", 12.5)),
    ]:
        with pytest.raises(UsageError, match=telling(*differ)):
            extract([clips], tmp_path / "out.h5", settings=with_fields(settings, **changed))
    pool5 = saved(tmp_path / "pool5.npz", replace(read_projection(small), layer="pool5"))
    with pytest.raises(UsageError, match=telling("pool5")):
        extract([clips], tmp_path / "out.h5", settings=with_fields(SETTINGS, project=pool5))
    assert not (tmp_path / "out.h5").exists()
    assert not (tmp_path / "out.h5.parts").exists()


def test_where_clips_lie_and_precision_are_told_not_refused(
    clips: Path, small: Path, tmp_path: Path
) -> None:
    projection = read_projection(small)
    other = "bf16" if projection.settings.to_json()["precision"] == "float32" else "float32"
    settings = with_fields(SETTINGS, project=small, stride=13, precision=other)
    (note,) = extract([clips], tmp_path / "out.h5", settings=settings).notes
    assert tells(note, "precision", "bf16", "float32", "clip.stride", 8, 13)


def test_verify_makes_projected_rows_again(clips: Path, small: Path, tmp_path: Path) -> None:
    here = tmp_path / "here.npz"
    here.write_bytes(small.read_bytes())
    extract([clips], tmp_path / "out.h5", settings=with_fields(SETTINGS, project=here))
    found = verify(tmp_path / "out.h5")
    assert (found.problems, found.notes, found.deviation) == ([], [], 0.0)
    assert found.clips > 8
    with h5py.File(tmp_path / "out.h5", "a") as file:
        file["1/res5a"][0] = file["1/res5a"][0][::-1]
    problems = verify(tmp_path / "out.h5").problems
    assert any(tells(problem, "res5a", "clip 0", "'1'") for problem in problems)
    here.rename(tmp_path / "there.npz")
    with pytest.raises(UsageError, match=telling(here, "project")):
        verify(tmp_path / "out.h5")
    assert verify(tmp_path / "out.h5", project=tmp_path / "there.npz").clips == found.clips
    other = saved(tmp_path / "other.npz", replace(read_projection(small), explained=0.5))
    with pytest.raises(UsageError, match=telling(other, "sha256")):
        verify(tmp_path / "out.h5", project=other)


def test_verify_of_rows_that_were_not_projected_takes_no_projection(
    tmp_path: Path, small: Path, plain: Path
) -> None:
    with pytest.raises(UsageError, match=telling("project")):
        verify(plain, project=small)


def test_the_commands_take_it(clips: Path, small: Path, tmp_path: Path) -> None:
    from click.testing import CliRunner

    from featx.cli import features

    out = tmp_path / "out.h5"
    options = [
        "--model",
        NAME,
        "--weights",
        "random",
        "--layers",
        "res5a",
        "--workers",
        "1",
        "--project",
        str(small),
    ]
    done = CliRunner().invoke(features.extract, [*options, str(clips), str(out), "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["settings"]["projection"]["dims"] == 6
    assert tells(CliRunner().invoke(features.info, [str(out)]).stdout, "res5a", 6)
    assert (
        CliRunner()
        .invoke(features.verify, [str(out), "--project", str(small), "--clips", "4"])
        .exit_code
        == 0
    )
    done = CliRunner().invoke(
        features.extract, [*options, "--seed", "1", str(clips), str(tmp_path / "other.h5")]
    )
    assert isinstance(done.exception, UsageError)


def test_hand_made_files_without_the_setting_are_read(tmp_path: Path) -> None:
    with FeatureStore(
        write_features(tmp_path / "old.h5", {"a": {"pool5": np.ones((2, 3))}})
    ) as store:
        assert store.settings.projection is None
