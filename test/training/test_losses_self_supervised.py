"""Scale consistency, velocity and boundary losses: hand-computed values, perfect cases, gradients."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.autograd import gradcheck

from geoseg_ros.training.losses.boundary import border_term, boundary_loss, boundary_weights, class_term
from geoseg_ros.training.losses.pose import velocity_loss
from geoseg_ros.training.losses.scale_consistency import (
    consistency_weight,
    depth_inconsistency,
    geometry_consistency_loss,
)


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def row(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64).view(1, 1, 1, -1)


def test_depth_inconsistency_by_hand():
    difference = depth_inconsistency(row(2, 3, 5, 0, 4), row(2, 1, 15, 2, -1))
    torch.testing.assert_close(difference, row(0, 0.5, 0.5, 1, 1))
    valid = torch.tensor([True, True, False, False, False]).view(1, 1, 1, 5)
    assert geometry_consistency_loss(difference, valid).item() == pytest.approx(0.25)
    assert geometry_consistency_loss(difference, torch.zeros_like(valid)).item() == 0


def test_depth_inconsistency_is_symmetric_and_blind_to_common_scale():
    a, b = random(1, 1, 3, 4, seed=1) + 0.1, random(1, 1, 3, 4, seed=2) + 0.1
    torch.testing.assert_close(depth_inconsistency(a, b), depth_inconsistency(7 * b, 7 * a))
    assert depth_inconsistency(a, a).max() == 0


def test_geometry_consistency_gradient():
    a, b = (random(1, 1, 3, 4, seed=1) + 0.5).requires_grad_(), (random(1, 1, 3, 4, seed=2) + 2).requires_grad_()
    assert gradcheck(lambda x, y: geometry_consistency_loss(depth_inconsistency(x, y)), (a, b))
    unknown = torch.zeros(1, 1, 3, 4, dtype=torch.float64)
    geometry_consistency_loss(depth_inconsistency(a, unknown)).backward()
    assert torch.equal(a.grad, torch.zeros_like(a))


def test_the_self_discovered_mask_sends_no_gradient():
    difference = random(1, 1, 2, 2).requires_grad_()
    weight = consistency_weight(difference)
    torch.testing.assert_close(weight, 1 - difference.detach())
    assert not weight.requires_grad


def poses(*translations: tuple[float, float, float]) -> torch.Tensor:
    matrices = torch.eye(4, dtype=torch.float64).repeat(len(translations), 1, 1)
    matrices[:, :3, 3] = torch.tensor(translations, dtype=torch.float64)
    return matrices


def test_velocity_loss_by_hand():
    predicted = poses((0, 3, 4), (1, 2, 2), (9, 9, 9))
    assert velocity_loss(predicted, torch.tensor([6.0, 1.0, math.nan])).item() == pytest.approx((1 + 2) / (6 + 1))
    assert velocity_loss(10 * predicted, torch.tensor([60.0, 10.0, math.nan])).item() == pytest.approx((1 + 2) / (6 + 1))
    assert velocity_loss(predicted[:1], torch.zeros(1)).item() == pytest.approx(5 / 0.01)
    assert velocity_loss(predicted, torch.full((3,), math.nan)).item() == 0


def test_velocity_gradient_is_finite_at_standstill():
    predicted = poses((0.3, -0.2, 0.9), (0.1, 0.5, -0.3)).requires_grad_()
    assert gradcheck(lambda p: velocity_loss(p, torch.tensor([2.0, 0.1], dtype=torch.float64)), (predicted,))
    standing = poses((0, 0, 0)).requires_grad_()
    velocity_loss(standing, torch.tensor([1.0])).backward()
    assert torch.isfinite(standing.grad).all()


def test_the_border_term_lies_between_two_objects():
    """Two objects with four pixels between them: left ends in column 2, right starts in column 7."""
    mask = np.zeros((5, 10), bool)
    mask[:, :3] = mask[:, 7:] = True
    term = border_term(mask, smallest=15)
    # Distances to the two borders add up to 5 between them, to 1 + 5 = 6 at the objects' own edges.
    expected = [10 * math.exp(-((d1 + d2) ** 2) / 50) for d1, d2 in ((1, 4), (2, 3), (3, 2), (4, 1))]
    np.testing.assert_allclose(term[2, 3:7], expected, rtol=1e-5)
    np.testing.assert_allclose(term[2, [2, 7]], 10 * math.exp(-36 / 50), rtol=1e-5)
    assert term[2, 0] < term[2, 2]
    np.testing.assert_allclose(border_term(mask, weight=1.0, sigma=2.5, smallest=15)[2, 4], math.exp(-25 / 12.5), rtol=1e-5)


def test_of_three_objects_the_two_nearest_count():
    mask = np.zeros((1, 30), bool)
    mask[0, [5, 9, 25]] = True
    expected = 10 * math.exp(-((2 + 2) ** 2) / 50)
    assert border_term(mask, smallest=1)[0, 7] == pytest.approx(expected, rel=1e-5)
    assert not border_term(mask, smallest=2).any(), "specks are no objects"


@pytest.mark.parametrize("objects", [0, 1])
def test_without_two_objects_only_the_class_counts(objects):
    mask = torch.zeros(1, 1, 6, 8, dtype=torch.bool)
    mask[..., :3, :2] = bool(objects)
    torch.testing.assert_close(boundary_weights(mask), class_term(mask))


def test_class_weights_balance_and_are_bounded():
    quarter = torch.zeros(1, 1, 4, 4, dtype=torch.bool)
    quarter[..., 0] = True
    weights = class_term(quarter)
    assert weights[..., 0].unique().item() == pytest.approx(2.0)
    assert weights[..., 1].unique().item() == pytest.approx(2 / 3)
    assert weights.mean().item() == pytest.approx(1.0)
    rare = torch.zeros(1, 1, 50, 50, dtype=torch.bool)
    rare[..., 0, 0] = True
    assert class_term(rare).max().item() == pytest.approx(10.0)


def test_boundary_loss_by_hand_and_its_gradient():
    foreground = torch.tensor([True, False]).view(1, 1, 1, 2)
    weights = row(3, 1)
    assert boundary_loss(row(0, 0), foreground, weights).item() == pytest.approx(2 * math.log(2))
    expected = (3 * math.log1p(math.exp(-1.5)) + math.log1p(math.exp(-0.5))) / 2
    assert boundary_loss(row(1.5, -0.5), foreground, weights).item() == pytest.approx(expected)
    assert boundary_loss(row(40, -40), foreground, weights).item() == pytest.approx(0, abs=1e-12)
    assert gradcheck(lambda x: boundary_loss(x, foreground, weights), (row(0.3, 0.7).requires_grad_(),))
