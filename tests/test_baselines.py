"""tools/baselines.py: what it says of frames and flow whose features are known, and files that `featx svm` takes."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from conftest import encode
from told import tells

from featx.tasks.features import open_features

pytest.importorskip("cv2", reason="OpenCV is not here")
TOOL = Path(__file__).parents[1] / "tools" / "baselines.py"
NAMES = ("mean_frame", "colour", "hog", "hof", "hog_hof")


@pytest.fixture(scope="module")
def tool() -> Any:
    spec = importlib.util.spec_from_file_location("baselines", TOOL)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def flat(tool: ModuleType, colour: tuple[int, int, int]) -> np.ndarray:
    return np.full((*tool.SIZE, 3), colour, np.uint8)


def moving(tool: ModuleType, dx: float, dy: float) -> np.ndarray:
    return np.broadcast_to(np.asarray([dx, dy], np.float16), (*tool.SIZE, 2))


def test_colours_are_counted_jointly(tool: ModuleType) -> None:
    image = flat(tool, (255, 0, 40))
    image[: tool.SIZE[0] // 4] = (0, 128, 255)
    found = tool.colour(image).reshape(8, 8, 8)
    assert found[7, 0, 1] == 0.75
    assert found[0, 4, 7] == 0.25
    assert found.sum() == 1


def test_a_mean_frame_is_small_and_grey_is_nothing(tool: ModuleType) -> None:
    found = tool.mean_frame(flat(tool, (0, 255, 51))).reshape(16, 16, 3)
    assert np.allclose(found, [-0.5, 0.5, -0.3])


def test_gradients_of_a_frame(tool: ModuleType) -> None:
    hog = tool.Hog()
    assert not hog(flat(tool, (90, 90, 90))).any()
    stripes = np.zeros((*tool.SIZE, 3), np.uint8)
    stripes[:, (np.arange(tool.SIZE[1]) // 4) % 2 == 0] = 255
    upright = hog(stripes)
    # Blocks of 16 pixels every 8, of 2 x 2 cells, 9 orientations, each block of length 1.
    assert upright.shape == ((96 // 8 - 1) * (128 // 8 - 1) * 4 * 9,)
    assert np.allclose(
        np.linalg.norm(upright.reshape(-1, 36), axis=1), 1, atol=0.01
    )  # regularised by 0.01 of the block's sum
    lying = hog(np.ascontiguousarray(stripes.transpose(1, 0, 2)[:96].repeat(2, axis=1)[:, :128]))
    assert abs(float(upright @ lying)) < 0.1 * float(upright @ upright)


@pytest.mark.parametrize(
    ("motion", "direction"), [((2, 0), 0), ((0, 2), 2), ((-2, 0), 4), ((0, -2), 6)]
)
def test_flow_is_counted_by_direction_and_weighed_by_length(
    tool: ModuleType, motion: tuple[int, int], direction: int
) -> None:
    found = tool.hof(moving(tool, *motion)).reshape(6, 8, 9)
    pixels = tool.CELL**2
    assert np.allclose(found[..., direction], 2 * pixels)
    assert np.allclose(found.sum(), 2 * pixels * 48)


def test_flow_between_two_directions_is_shared_and_what_stays_is_told_apart(
    tool: ModuleType,
) -> None:
    angle = 2 * np.pi * 0.25 / 8  # a quarter of the way from right to right-and-down
    found = tool.hof(moving(tool, 4 * np.cos(angle), 4 * np.sin(angle))).reshape(-1, 9).sum(
        axis=0
    ) / (4 * 96 * 128)
    assert np.allclose(
        found, [0.75, 0.25, 0, 0, 0, 0, 0, 0, 0], atol=1e-3
    )  # float16's three digits
    flow = np.zeros((*tool.SIZE, 2), np.float16)
    flow[:16, :16, 0] = 3
    found = tool.hof(flow).reshape(6, 8, 9)
    assert found[0, 0].tolist() == [3 * 256, *[0] * 8]
    assert found[0, 1].tolist() == found[5, 7].tolist() == [*[0] * 8, 256]


def test_a_frame_and_the_next_are_what_flow_lies_between(tool: ModuleType, tmp_path: Path) -> None:
    """Of 9 frames, 0, 4 and 8 are looked at; the flow is between 0 and 1, 4 and 5, and 8 has no next."""
    found = tool.features(str(encode(tmp_path / "a.mp4", 9)))
    assert set(found) == set(NAMES)
    assert np.isclose(np.sum(found["colour"] ** 2), 1)
    assert np.allclose(np.linalg.norm(found["hog_hof"][: len(found["hog"])]), 1)
    one = tool.features(str(encode(tmp_path / "b.mp4", 1)))
    assert np.array_equal(
        one["hof"].reshape(-1, 9), np.tile([*[0] * 8, 16.0], (48, 1))
    )  # the root of 256 pixels that stay


def test_the_files_are_what_features_are_read_from(tool: ModuleType, tmp_path: Path) -> None:
    videos = tmp_path / "videos"
    for number, name in enumerate(("b/two", "a/one")):
        encode(videos / f"{name}.mp4", 6, seed=number)
    (videos / "a" / "bad.mp4").write_bytes(b"no video")
    out = tmp_path / "out"
    arguments = [str(videos), str(out), "--workers", "1"]
    # The processes import the module that the function is of by its name.
    sys.modules["baselines"] = tool
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(TOOL.parent))
        done = CliRunner().invoke(tool.main, arguments)
        assert done.exit_code == 1, done.output
        assert tells(done.output, "a/bad")
        first = {name: (out / f"{name}.npz").read_bytes() for name in NAMES}
        (videos / "a" / "bad.mp4").unlink()
        assert CliRunner().invoke(tool.main, arguments).exit_code == 0
    assert {name: (out / f"{name}.npz").read_bytes() for name in NAMES} == first
    dims = {}
    for name in NAMES:
        with open_features(out / f"{name}.npz") as features:
            assert list(features.ids) == ["a/one", "b/two"]
            dims[name] = features.dims
            rows = features.rows_by_id(["a/one", "b/two"])
            assert np.isfinite(rows).all()
    assert dims == {"mean_frame": 768, "colour": 512, "hog": 5940, "hof": 432, "hog_hof": 6372}


def test_wrong_places_are_refused_before_any_work(tool: ModuleType, tmp_path: Path) -> None:
    done = CliRunner().invoke(tool.main, [str(tmp_path / "none"), str(tmp_path / "out")])
    assert (done.exit_code, done.output.count("\n")) == (2, 1)
    encode(tmp_path / "v" / "a.mp4", 2)
    (tmp_path / "file").touch()
    done = CliRunner().invoke(tool.main, [str(tmp_path / "v"), str(tmp_path / "file")])
    assert done.exit_code == 2
    assert tells(done.output, tmp_path / "file")
