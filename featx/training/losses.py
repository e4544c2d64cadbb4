"""What training minimises: cross-entropy, and S-CNN's loss, which wants a window surer the better it fits its instance."""

from __future__ import annotations

from typing import Literal

import torch
from torch.nn import functional

from featx.training.recipes import Recipe


def overlap_loss(
    logits: torch.Tensor,
    labels: torch.Tensor,
    overlaps: torch.Tensor,
    *,
    weight: float = 1.0,
    power: float = 0.25,
    over: Literal["all", "positives"] = "all",
) -> torch.Tensor:
    """Return cross-entropy plus `weight` times the overlap term, (N, C), (N,) int64, (N,) -> () (Shou et al. 2016, section 3.3).

    labels: 0 is background. overlaps: v, a window's tIoU with its instance, above 0 and at most 1; background's is not looked at.
    The term is the sum, over the clips of actions, of (p^2 / v^power - 1) / 2, with p the probability of the clip's class,
    over the number of all clips, as the paper's equation and the authors' released layer have it; over: "positives"
    takes the mean over the clips of actions alone, none of them giving 0.

    In float32, or in float64 where the logits are: p and v only come as exp(2 log p - power log v), whose gradient is that
    times log p's, with nothing to divide by.
    """
    with torch.autocast(logits.device.type, enabled=False):
        logits = logits if logits.dtype == torch.float64 else logits.float()
        log_p = functional.log_softmax(logits, dim=1).gather(1, labels[:, None])[:, 0]
        action = labels > 0
        # Background gets a v of 1: a masked infinity would be no number in the gradient.
        log_v = torch.where(action, overlaps.to(logits.dtype), torch.ones_like(log_p)).log()
        excess = (
            torch.where(action, torch.exp(2 * log_p - power * log_v) - 1, torch.zeros_like(log_p))
            / 2
        )
        n = len(labels) if over == "all" else action.sum().clamp(min=1)
        return -log_p.mean() + weight * excess.sum() / n


def loss_of(
    recipe: Recipe, logits: torch.Tensor, labels: torch.Tensor, overlaps: torch.Tensor
) -> torch.Tensor:
    """Return the mean loss of a forward pass's clips, (N, C), (N,), (N,) -> (), by the recipe."""
    if recipe.loss == "softmax":
        return functional.cross_entropy(logits.float(), labels)
    over: Literal["all", "positives"] = "all" if recipe.loss == "overlap" else "positives"
    return overlap_loss(
        logits.float(),
        labels,
        overlaps,
        weight=recipe.overlap_weight,
        power=recipe.overlap_power,
        over=over,
    )
