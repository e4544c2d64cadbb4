from pathlib import Path

import h5py
import numpy as np
import pytest
from conftest import encode, featx
from extractions import SETTINGS
from settings import with_fields
from told import tells

from featx.extraction.extract import extract
from featx.extraction.verify import verify


@pytest.fixture
def out(tmp_path: Path) -> Path:
    for i in range(3):
        encode(tmp_path / "v" / f"{i}.mp4", 40, seed=i)
    extract(
        [tmp_path / "v"], tmp_path / "out.h5", settings=with_fields(SETTINGS, fps=20.0, stride=8)
    )
    return tmp_path / "out.h5"


def test_a_good_file_comes_out_the_same_to_the_bit(out: Path) -> None:
    found = verify(out)
    assert (found.problems, found.notes, found.unread) == ([], [], [])
    assert (found.videos, found.clips, found.deviation, found.cosine) == (
        3,
        9,
        0.0,
        pytest.approx(1.0),
    )


def test_a_row_of_another_clip_is_found(out: Path) -> None:
    with h5py.File(out, "a") as file:
        file["1/pool5"][0] = file["1/pool5"][0][::-1]
    found = verify(out)
    assert any(tells(problem, "pool5", "clip 0", "'1'") for problem in found.problems)
    done = featx("verify", out)
    assert (done.returncode, tells(done.stdout, "pool5", "clip 0", "'1'")) == (1, True)


def test_videos_that_are_gone_or_changed_are_said(out: Path) -> None:
    (out.parent / "v" / "0.mp4").unlink()
    found = verify(out)
    assert found.ok
    assert [video for video, _ in found.unread] == ["0"]
    encode(out.parent / "v" / "1.mp4", 50, seed=1)
    assert any("decodes to other clips" in problem for problem in verify(out).problems)
    for i in (1, 2):
        (out.parent / "v" / f"{i}.mp4").unlink()
    assert any("not one of the sampled videos" in problem for problem in verify(out).problems)
    assert verify(out, clips=0).ok


def test_rows_of_another_clip_are_found_however_alike_the_clips_are(out: Path) -> None:
    with h5py.File(out, "a") as file:
        rows = file["1/pool5"][()]
        file["1/pool5"][()] = np.roll(rows, 1, axis=0)
    assert len(verify(out).problems) == 3


def test_rounding_is_a_problem_only_where_the_same_machine_computed_the_rows(out: Path) -> None:
    with h5py.File(out, "a") as file:
        file["1/pool5"][0] *= np.float32(1 + 1e-6)
    assert len(verify(out).problems) == 1
    with h5py.File(out, "a") as file:
        file["1"].attrs["computed_by"] = "torch 1.0, an abacus"
    found = verify(out)
    assert found.ok
    assert 0 < found.relative < 1e-5
    with h5py.File(out, "a") as file:
        file["1/pool5"][0] *= 2
    assert any("comes out different" in problem for problem in verify(out).problems)


def test_attributes_are_held_against_the_video(out: Path) -> None:
    with h5py.File(out, "a") as file:
        file["1"].attrs["damaged_frames"] = 3
    assert any("damaged_frames is 3 there and 0 now" in problem for problem in verify(out).problems)


def test_a_video_of_an_unknown_decoder_is_not_made_again(out: Path) -> None:
    with h5py.File(out, "a") as file:
        del file["1"].attrs["decoder"]
    assert [(video, "decoder" in why) for video, why in verify(out).unread] == [("1", True)]


def test_rows_of_another_width_than_the_models_are_a_problem(out: Path) -> None:
    with h5py.File(out, "a") as file:
        for i in "012":
            rows = file[i]["pool5"][:, :7]
            del file[i]["pool5"]
            file[i]["pool5"] = rows
            file[i]["pool5"].attrs["shape"] = (7,)
    problems = verify(out).problems
    assert any(tells(problem, "pool5", "'1'", 7, 256) for problem in problems), problems


@pytest.mark.parametrize("gone", [".videos", ".failures", "1/clip_frames", "1/pool5"])
def test_what_is_missing_is_said_in_a_sentence(out: Path, gone: str) -> None:
    with h5py.File(out, "a") as file:
        del file[gone]
    done = featx("verify", out)
    assert done.returncode in (1, 2)
    assert "Traceback" not in done.stderr
    assert "Error:" in done.stderr or "problem" in done.stdout
