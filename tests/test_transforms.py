from dataclasses import replace

import numpy as np
import pytest
import torch
from told import telling

from featx.errors import UsageError
from featx.transforms import TRAN2017, Transform


def make(**changed: object) -> Transform:
    return Transform(
        **{"resize": (6, 8), "crop": 4, "mean": (1.0, 2.0, 3.0), "std": (2.0, 4.0, 8.0), **changed}
    )


IMAGE = np.arange(6 * 8 * 3, dtype=np.uint8).reshape(6, 8, 3)


def test_centre_crop_of_res3d_is_where_opencv_and_torchvision_put_it() -> None:
    assert TRAN2017.boxes(128, 171) == [(8, 29)]


def test_normalise_is_pixel_minus_mean_over_std_and_channels_first() -> None:
    transform = make()
    clips = torch.from_numpy(np.stack([transform.cut(IMAGE)[0]] * 2))[None]  # (1, 2, 4, 4, 3)
    x = transform.normalise(clips)
    assert x.shape == (1, 3, 2, 4, 4)
    for channel, (mean, std) in enumerate(zip(transform.mean, transform.std, strict=True)):
        expected = (IMAGE[1:5, 2:6, channel].astype(np.float32) - mean) / std
        np.testing.assert_array_equal(x[0, channel, 1].numpy(), expected)
    assert x.is_contiguous(memory_format=torch.channels_last_3d)


def test_ten_crops_are_corners_and_centre_and_their_mirror_images() -> None:
    transform = make(crops="ten")
    crops = transform.cut(IMAGE)
    assert crops.shape == (5, 4, 4, 3)
    for crop, (top, left) in zip(crops, [(1, 2), (0, 0), (0, 4), (2, 0), (2, 4)], strict=True):
        np.testing.assert_array_equal(crop, IMAGE[top : top + 4, left : left + 4])
    assert transform.mirrors == (False, True)
    clips = torch.from_numpy(crops[:1])[None]
    torch.testing.assert_close(
        transform.normalise(clips, mirrored=True),
        transform.normalise(clips).flip(4),
        rtol=0,
        atol=0,
    )


def test_flip_adds_the_mirror_image_of_the_centre() -> None:
    assert (make(flip=True).n_crops, make(flip=True).mirrors) == (1, (False, True))
    assert (make().n_crops, make().mirrors) == (1, (False,))


@pytest.mark.parametrize(
    ("resize", "given", "expected"),
    [
        ((128, 171), (240, 320), (128, 171)),
        ((128, 171), (1080, 608), (128, 171)),
        (112, (240, 320), (112, 149)),
        (112, (320, 240), (149, 112)),
        (112, (1, 1), (112, 112)),
        (112, (2000, 3), (74667, 112)),
    ],
)
def test_frame_size(resize: object, given: tuple[int, int], expected: tuple[int, int]) -> None:
    assert make(resize=resize).frame_size(*given) == expected


def test_settings_survive_json() -> None:
    import json

    for transform in (TRAN2017, make(resize=112, crops="ten", flip=True)):
        assert Transform.from_dict(json.loads(json.dumps(transform.to_dict()))) == transform


@pytest.mark.parametrize(
    "wrong", [{"crop": 7}, {"crop": 0}, {"crops": "nine"}, {"std": (1.0, 0.0, 1.0)}, {"resize": 3}]
)
def test_impossible_transforms_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        make(**wrong)


@pytest.mark.parametrize("bad", [(1.0, 2.0), (1.0, 2.0, float("nan")), "abc", (1.0, 2.0, None)])
@pytest.mark.parametrize("name", ["mean", "std"])
def test_means_and_deviations_are_three_numbers(name: str, bad: object) -> None:
    with pytest.raises(UsageError, match=telling(name)):
        replace(TRAN2017, **{name: bad})
