"""Drawn crops to network input."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from featx.training import augment
from featx.transforms import FLOW_ZERO, TRAN2017, Transform

PLAIN = Transform(resize=16, crop=16, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))


def network_input(
    x: torch.Tensor, sides: list[int], flips: list[bool], transform: Transform
) -> torch.Tensor:
    """Of frames resized as the network's own preprocessing does."""
    return augment.network_input(x, sides, flips, transform, shorter=transform.shorter)


def clips(n: int, side: int, length: int = 2, seed: int = 0) -> torch.Tensor:
    return torch.randint(
        0,
        256,
        (n, length, side, side, 3),
        dtype=torch.uint8,
        generator=torch.Generator().manual_seed(seed),
    )


def test_a_crop_of_the_inputs_size_is_normalised_and_nothing_else() -> None:
    x = clips(3, 112)
    made = network_input(x, [112] * 3, [False] * 3, TRAN2017)
    assert made.shape == (3, 3, 2, 112, 112)
    assert made.is_contiguous(memory_format=torch.channels_last_3d)
    torch.testing.assert_close(made, x.permute(0, 4, 1, 2, 3).float() - 128, rtol=0, atol=0)


def test_each_clip_is_treated_as_if_it_were_alone() -> None:
    x = clips(6, 40)
    sides, flips = [40, 32, 16, 40, 20, 16], [False, True, False, True, True, True]
    together = network_input(x, sides, flips, PLAIN)
    for i in range(6):
        alone = network_input(x[i : i + 1], sides[i : i + 1], flips[i : i + 1], PLAIN)
        # The same arithmetic on other batch sizes: float32's last bits.
        torch.testing.assert_close(together[i : i + 1], alone, rtol=0, atol=1e-3)


def test_what_lies_outside_the_crop_is_not_seen() -> None:
    x = clips(1, 40)
    y = x.clone()
    y[:, :, 24:], y[:, :, :, 24:] = 0, 255
    torch.testing.assert_close(
        network_input(x, [24], [True], PLAIN), network_input(y, [24], [True], PLAIN), rtol=0, atol=0
    )


def test_a_larger_crop_is_averaged_over_the_area_of_a_pixel() -> None:
    # Twice the size: the bilinear filter spans 4 x 4 pixels with weights 1 3 3 1, so stripes of one pixel all but vanish,
    # where taking every second pixel would keep one of them.
    x = torch.zeros((1, 1, 32, 32, 3), dtype=torch.uint8)
    x[:, :, :, ::2] = 200
    made = network_input(x, [32], [False], PLAIN)
    assert (made[..., 2:-2] - 100).abs().max() < 1e-3
    ramp = (
        torch.arange(32)
        .repeat(32, 1)[None, None, :, :, None]
        .expand(1, 1, 32, 32, 3)
        .to(torch.uint8)
    )
    torch.testing.assert_close(
        network_input(ramp, [32], [False], PLAIN)[0, 0, 0, 5, 1:-1],
        torch.arange(1, 15) * 2 + 0.5,
        rtol=0,
        atol=1e-4,
    )


def test_the_mirror_image_is_mirrored_in_its_width() -> None:
    x = clips(2, 16)
    made = network_input(x, [16, 16], [False, True], PLAIN)
    other = network_input(x, [16, 16], [True, False], PLAIN)
    torch.testing.assert_close(made[0].flip(-1), other[0], rtol=0, atol=0)
    torch.testing.assert_close(made[1], other[1].flip(-1), rtol=0, atol=0)


def test_flow_keeps_its_meaning_in_every_zoom_and_mirror() -> None:
    # Flow images tell motion as a share of the frame. An extracted clip shows all of these frames' 16 pixels; a crop of half
    # of a frame, resized to the same, shows the motion twice as large; one of a whole frame of any size, as it is.
    flow = replace(PLAIN, input="flow", flow="dis")
    for shorter, side, times in ((32, 32, 1), (32, 16, 2), (64, 32, 2), (16, 16, 1), (16, 8, 2)):
        x = torch.full((1, 1, 32, 32, 3), FLOW_ZERO, dtype=torch.uint8)
        x[..., 0] = FLOW_ZERO + 10
        made = augment.network_input(x, [side], [False], flow, shorter=shorter)[0, :, 0, 8, 8]
        np.testing.assert_allclose(
            made.numpy(), [FLOW_ZERO + 10 * times, FLOW_ZERO, FLOW_ZERO], atol=1e-3
        )
        mirrored = augment.network_input(x, [side], [True], flow, shorter=shorter)[0, :, 0, 8, 8]
        np.testing.assert_allclose(
            mirrored.numpy(), [FLOW_ZERO - 10 * times, FLOW_ZERO, FLOW_ZERO], atol=1e-3
        )


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
def test_a_gpu_makes_the_same_input() -> None:
    x = clips(4, 40)
    sides, flips = [40, 32, 16, 20], [False, True, False, True]
    on_gpu = network_input(x.cuda(), sides, flips, PLAIN).cpu()
    torch.testing.assert_close(on_gpu, network_input(x, sides, flips, PLAIN), rtol=0, atol=1e-2)
