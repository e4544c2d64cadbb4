"""S-CNN's overlap loss: its values against the paper's equation, its gradient against finite differences."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional

from featx.training.losses import loss_of, overlap_loss
from featx.training.recipes import RECIPES


def drawn(
    seed: int = 0, n: int = 7, classes: int = 5
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Logits, labels with background among them, overlaps."""
    rng = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn((n, classes), generator=rng, dtype=torch.float64)
    labels = torch.tensor([0, 1, 2, 0, classes - 1, 1, 3][:n])
    return logits, labels, 0.05 + 0.95 * torch.rand(n, generator=rng, dtype=torch.float64)


def by_hand(
    logits: torch.Tensor, labels: torch.Tensor, overlaps: torch.Tensor, weight: float, power: float
) -> float:
    """(1/N) * [sum of -log p_k + weight * sum over k != 0 of (p_k^2 / v^power - 1) / 2]."""
    total = 0.0
    for row, k, v in zip(logits.numpy(), labels.tolist(), overlaps.tolist(), strict=True):
        p = np.exp(row - row.max()) / np.exp(row - row.max()).sum()
        total -= np.log(p[k])
        total += weight * (k != 0) * 0.5 * (p[k] ** 2 / v**power - 1)
    return float(total / len(labels))


@pytest.mark.parametrize(("weight", "power"), [(1.0, 0.25), (0.5, 1.0), (2.0, 0.0), (0.0, 0.25)])
def test_the_loss_is_the_papers_equation(weight: float, power: float) -> None:
    given = drawn()
    # Sums of seven float64 terms near 1: rounding stays below 1e-14.
    assert overlap_loss(*given, weight=weight, power=power).item() == pytest.approx(
        by_hand(*given, weight, power), abs=1e-13
    )


def test_the_mean_over_clips_of_actions_differs_by_the_share_of_background() -> None:
    logits, labels, overlaps = drawn()
    plain = functional.cross_entropy(logits, labels)
    over_all = overlap_loss(logits, labels, overlaps) - plain
    assert (
        overlap_loss(logits, labels, overlaps, over="positives") - plain
    ).item() == pytest.approx(over_all.item() * 7 / 5)
    background = torch.zeros_like(labels)
    for over in ("all", "positives"):
        found = overlap_loss(logits, background, overlaps, over=over)
        torch.testing.assert_close(found, functional.cross_entropy(logits, background))


@pytest.mark.parametrize("over", ["all", "positives"])
@pytest.mark.parametrize("power", [0.25, 1.0])
def test_the_gradient_is_that_of_finite_differences(power: float, over: str) -> None:
    logits, labels, overlaps = drawn(1)
    logits.requires_grad_()
    # eps 1e-6 in float64: the differences' error is about eps^2 + 1e-16 / eps, far below the tolerance of 1e-7.
    assert torch.autograd.gradcheck(
        lambda x: overlap_loss(x, labels, overlaps, weight=1.5, power=power, over=over),
        (logits,),
        eps=1e-6,
        atol=1e-7,
        rtol=1e-6,
    )


def test_the_gradient_is_the_papers() -> None:
    logits, labels, overlaps = drawn(2)
    logits.requires_grad_()
    (found,) = torch.autograd.grad(overlap_loss(logits, labels, overlaps), logits)
    p = torch.softmax(logits.detach(), 1)
    one = functional.one_hot(labels, logits.shape[1])
    own = p.gather(1, labels[:, None])
    pull = torch.where(labels > 0, own[:, 0] ** 2 / overlaps**0.25, 0.0)[:, None]
    torch.testing.assert_close(
        found, ((p - one) + pull * (one - p)) / len(labels), rtol=1e-12, atol=1e-14
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("far", [0.0, 1.0, 40.0, 1e4])
@pytest.mark.parametrize("overlap", [1.0, 0.5, 1e-6, 1e-30])
def test_the_loss_and_its_gradient_stay_numbers(
    far: float, overlap: float, dtype: torch.dtype
) -> None:
    """Probabilities of 0 and 1 to the last bit, and windows that hardly touch their instance."""
    logits = torch.tensor(
        [[0.0, far, 0.0], [far, 0.0, 0.0], [0.0, far, 0.0]], dtype=dtype, requires_grad=True
    )
    labels, overlaps = torch.tensor([1, 1, 0]), torch.tensor([overlap, overlap, overlap])
    with torch.autocast("cpu", torch.bfloat16):
        loss = overlap_loss(logits, labels, overlaps)
    assert loss.dtype == torch.float32
    (gradient,) = torch.autograd.grad(loss, logits)
    assert torch.isfinite(loss)
    assert gradient.isfinite().all()
    exact = overlap_loss(logits.detach().double(), labels, overlaps.double())
    torch.testing.assert_close(loss.double(), exact, rtol=1e-5, atol=1e-6)


def test_an_overlap_of_background_is_not_looked_at() -> None:
    logits = torch.randn((3, 4), generator=torch.Generator().manual_seed(0), requires_grad=True)
    loss = overlap_loss(logits, torch.tensor([0, 2, 0]), torch.tensor([0.0, 0.5, float("nan")]))
    (gradient,) = torch.autograd.grad(loss, logits)
    assert loss.isfinite()
    assert gradient.isfinite().all()


def test_a_better_window_is_pushed_to_a_higher_probability() -> None:
    """Alone, the loss of a window is least at p = v^(power / 2): the surer the better the window fits (section 3.3)."""
    p = torch.linspace(0.01, 0.999, 2_000, dtype=torch.float64)
    logits = torch.stack([torch.zeros_like(p), torch.log(p / (1 - p))], dim=1)
    for v in (0.3, 0.5, 0.9):
        losses = [
            overlap_loss(row[None], torch.tensor([1]), torch.tensor([v])).item() for row in logits
        ]
        assert p[int(np.argmin(losses))].item() == pytest.approx(
            v**0.125, abs=0.001
        )  # the grid's step is 0.0005


def test_recipes_choose_the_loss() -> None:
    logits, labels, overlaps = (x.float() if x.is_floating_point() else x for x in drawn())
    assert torch.equal(
        loss_of(RECIPES["scnn-classification"], logits, labels, overlaps),
        functional.cross_entropy(logits, labels),
    )
    for name in ("scnn-localization", "scnn-c3d-localization"):
        assert torch.equal(
            loss_of(RECIPES[name], logits, labels, overlaps), overlap_loss(logits, labels, overlaps)
        )
    other = replace(
        RECIPES["scnn-localization"],
        loss="overlap-positives",
        overlap_weight=2.0,
        overlap_power=1.0,
    )
    asked = overlap_loss(logits, labels, overlaps, weight=2.0, power=1.0, over="positives")
    assert torch.equal(loss_of(other, logits, labels, overlaps), asked)
