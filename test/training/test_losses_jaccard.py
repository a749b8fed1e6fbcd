"""Soft Jaccard loss: hand-computed values, unknown pixels, classes that do not occur, gradients."""

from __future__ import annotations

import pytest
import torch
from torch.autograd import gradcheck

from geoseg_ros.training.losses.jaccard import motion_jaccard_loss, semantic_jaccard_loss, soft_jaccard_loss


def test_by_hand_over_two_channels_and_the_known_pixels():
    probability = torch.tensor([[[[0.5, 1.0, 0.9]], [[0.5, 0.0, 0.1]]]])
    truth = torch.tensor([[[[1.0, 1.0, 0.0]], [[0.0, 0.0, 1.0]]]])
    known = torch.tensor([[[[True, True, False]]]])
    # the second channel's only true pixel is unknown: it does not count
    assert soft_jaccard_loss(probability, truth, known).item() == pytest.approx(1 - 1.5 / 2)
    everywhere = torch.ones_like(known)
    first, second = 1.5 / 2.9, 0.1 / 1.5
    assert soft_jaccard_loss(probability, truth, everywhere).item() == pytest.approx(1 - (first + second) / 2)


def test_perfect_certain_and_unlabelled_pictures_cost_nothing():
    target = torch.tensor([[[0, 1], [2, 255]]])
    logits = torch.nn.functional.one_hot(target.clamp(max=2), 4).movedim(-1, 1) * 60.0
    assert semantic_jaccard_loss(logits, target).item() == pytest.approx(0, abs=1e-6)
    assert semantic_jaccard_loss(logits, torch.full_like(target, 255)).item() == 0
    moving = torch.tensor([[[[1.0, 0.0, torch.nan]]]])
    assert motion_jaccard_loss(torch.tensor([[[[50.0, -50.0, 3.0]]]]), moving).item() == pytest.approx(0, abs=1e-6)
    assert motion_jaccard_loss(torch.zeros(1, 1, 1, 3), moving).item() == pytest.approx(1 - 0.5 / 1.5)


def test_gradients():
    generator = torch.Generator().manual_seed(4)
    logits = torch.randn(2, 3, 2, 3, generator=generator, dtype=torch.float64).requires_grad_()
    target = torch.randint(0, 3, (2, 2, 3), generator=generator)
    target[0, 0, 0] = 255
    assert gradcheck(lambda x: semantic_jaccard_loss(x, target), (logits,))
    assert gradcheck(lambda x: motion_jaccard_loss(x, (target == 1)[:, None].double()), (logits[:, :1].detach().requires_grad_(),))
