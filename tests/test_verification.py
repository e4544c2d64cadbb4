from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from conftest import encode, featx
from test_extraction import SETTINGS

from featx.extraction import extract
from featx.verification import verify


@pytest.fixture
def out(tmp_path: Path) -> Path:
    for i in range(3):
        encode(tmp_path / "v" / f"{i}.mp4", 40, seed=i)
    extract([tmp_path / "v"], tmp_path / "out.h5", replace(SETTINGS, fps=20.0, stride=8))
    return tmp_path / "out.h5"


def test_a_good_file_comes_out_the_same_to_the_bit(out: Path) -> None:
    found = verify(out)
    assert (found.problems, found.notes, found.unread) == ([], [], [])
    assert (found.videos, found.clips, found.deviation, found.cosine) == (3, 9, 0.0, pytest.approx(1.0))


def test_a_row_of_another_clip_is_found(out: Path) -> None:
    with h5py.File(out, "a") as file:
        file["1/pool5"][0] = file["1/pool5"][0][::-1]
    found = verify(out)
    assert any("pool5 of clip 0 of '1'" in problem for problem in found.problems)
    done = featx("verify", out)
    assert (done.returncode, "problem: pool5 of clip 0" in done.stdout) == (1, True)


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


def test_rounding_is_reported_not_condemned(out: Path) -> None:
    with h5py.File(out, "a") as file:
        file["1/pool5"][0] *= np.float32(1 + 1e-6)
    found = verify(out)
    assert found.ok
    assert 0 < found.relative < 1e-5
