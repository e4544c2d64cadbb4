"""What may be written where."""

from pathlib import Path

import pytest
from told import telling

from featx.errors import UsageError
from featx.system.files import check_target


@pytest.mark.parametrize(
    ("name", "example"),
    [
        *((f"q{suffix}", "features.h5") for suffix in (".npy", ".NPZ", ".csv", ".json", ".txt")),
        *((f"q{suffix}", "features.h5") for suffix in (".mp4", ".avi", ".png", ".pth")),
        ("q.h5", "predictions.csv"),
        ("q.mp4", "predictions.csv"),
        ("q.npy", "packed.safetensors"),
    ],
)
def test_a_name_that_means_another_format_is_refused(
    tmp_path: Path, name: str, example: str
) -> None:
    with pytest.raises(UsageError, match=telling(name, f"q{Path(example).suffix}")):
        check_target(tmp_path / name, example=example)


@pytest.mark.parametrize(
    ("name", "example"),
    [
        *((name, "features.h5") for name in ("q.h5", "q.HDF5", "q", "q.features", "v1.2")),
        *((name, "predictions.csv") for name in ("q.csv", "q.txt", "q.tsv", "q")),
        ("q.svg", "picture.png"),
    ],
)
def test_a_name_that_fits_or_means_nothing_is_taken(
    tmp_path: Path, name: str, example: str
) -> None:
    check_target(tmp_path / name, example=example)


def test_an_odd_name_of_before_is_gone_on_with(tmp_path: Path) -> None:
    (tmp_path / "q.npy").write_bytes(b"\x89HDF\r\n\x1a\n")
    check_target(tmp_path / "q.npy", example="features.h5")
