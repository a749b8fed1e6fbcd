"""Segmentation, geometry guidance and motion losses: hand-computed values, perfect cases, gradients."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch.autograd import gradcheck

from geoseg_ros.training.losses.geometry_guidance import holistic_guidance, per_class_guidance
from geoseg_ros.training.losses.motion import motion_loss
from geoseg_ros.training.losses.segmentation import (
    cross_entropy,
    median_frequency_weights,
    ohem_cross_entropy,
    union_cross_entropy,
)


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def logits_of(probabilities: list[list[float]]) -> torch.Tensor:
    """1×C×1×N logits whose softmax is the given N rows of C probabilities."""
    return torch.tensor(probabilities, dtype=torch.float64).log().T[None, :, None]


def test_cross_entropy_by_hand_with_ignore_and_weights():
    logits = logits_of([[0.5, 0.25, 0.25], [0.1, 0.8, 0.1], [0.3, 0.3, 0.4]])
    target = torch.tensor([[[0, 1, 255]]])
    assert cross_entropy(logits, target).item() == pytest.approx((math.log(2) - math.log(0.8)) / 2)
    weights = torch.tensor([1.0, 3.0, 1.0])
    assert cross_entropy(logits, target, weights).item() == pytest.approx(
        (math.log(2) - 3 * math.log(0.8)) / 4
    )


def test_cross_entropy_matches_torch_and_is_zero_without_labels():
    logits = random(2, 5, 3, 4)
    target = torch.randint(0, 5, (2, 3, 4), generator=torch.Generator().manual_seed(1))
    weights = torch.rand(5, dtype=torch.float64) + 0.1
    torch.testing.assert_close(
        cross_entropy(logits, target, weights), F.cross_entropy(logits, target, weights)
    )
    unknown = torch.full_like(target, 255)
    assert cross_entropy(logits.requires_grad_(), unknown).item() == 0
    assert ohem_cross_entropy(logits, unknown).item() == 0
    perfect = F.one_hot(target, 5).movedim(-1, 1) * 1e3
    assert cross_entropy(perfect, target).item() == 0


def test_ohem_keeps_hard_pixels_or_the_hardest_fraction():
    logits = logits_of([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8], [0.95, 0.05]])
    target = torch.zeros(1, 1, 4, dtype=torch.int64)
    # p = 0.6 and 0.2 lie under 0.7.
    expected = -(math.log(0.6) + math.log(0.2)) / 2
    assert ohem_cross_entropy(logits, target, 0.7, 1 / 16).item() == pytest.approx(expected)
    # Nothing lies under 0.1, so the hardest half stays: the same two.
    assert ohem_cross_entropy(logits, target, 0.1, 0.5).item() == pytest.approx(expected)
    assert ohem_cross_entropy(logits, target, 0.1, 0.0).item() == 0


def test_ohem_does_not_hide_a_network_that_fell_apart():
    logits = logits_of([[0.9, 0.1], [0.6, 0.4]])
    target = torch.zeros(1, 1, 2, dtype=torch.int64)
    logits[0, 0, 0, 1] = torch.nan
    assert math.isnan(ohem_cross_entropy(logits, target, 0.7, 0.5).item())
    assert math.isnan(ohem_cross_entropy(logits * torch.nan, target).item())
    target[0, 0, 1] = 255
    assert math.isfinite(ohem_cross_entropy(logits, target, 0.7, 0.5).item()), "where nothing is known it does not matter"


def test_union_cross_entropy_sums_probabilities_over_the_union():
    logits = logits_of([[0.5, 0.3, 0.2], [0.1, 0.2, 0.7], [0.4, 0.4, 0.2], [0.3, 0.3, 0.4]])
    union_map = np.array([[True, False, True], [False, True, False], [False, False, False]])
    target = torch.tensor([[[0, 1, 2, 255]]])
    # Source 0 = {0, 2}: 0.7. Source 1 = {1}: 0.2. Source 2 stands for nothing; 255 is unknown.
    expected = -(math.log(0.7) + math.log(0.2)) / 2
    assert union_cross_entropy(logits, target, union_map).item() == pytest.approx(expected)


def test_union_cross_entropy_special_maps():
    logits = random(1, 4, 3, 3)
    target = torch.randint(0, 4, (1, 3, 3), generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(
        union_cross_entropy(logits, target, torch.eye(4) > 0), cross_entropy(logits, target)
    )
    assert union_cross_entropy(logits, target, torch.ones(4, 4)).abs().item() < 1e-12
    nothing = logits.clone().requires_grad_()
    loss = union_cross_entropy(nothing, target, torch.zeros(4, 4))
    loss.backward()
    assert loss.item() == 0
    assert torch.equal(nothing.grad, torch.zeros_like(nothing))
    with pytest.raises(ValueError, match=r"shape \(4, 3\), expected S x 4"):
        union_cross_entropy(logits, target, torch.ones(4, 3))


def test_segmentation_gradients():
    logits = random(1, 3, 2, 3).requires_grad_()
    target = torch.tensor([[[0, 1, 255], [2, 0, 1]]])
    union_map = torch.tensor([[True, True, False], [False, False, True], [False, False, False]])
    assert gradcheck(lambda x: cross_entropy(x, target, torch.tensor([1.0, 2.0, 0.5])), (logits,))
    assert gradcheck(lambda x: ohem_cross_entropy(x, target, 0.4), (logits,))
    assert gradcheck(lambda x: union_cross_entropy(x, target, union_map), (logits,))


def test_median_frequency_weights_by_hand():
    first = np.array([[0, 0, 0, 1], [255, 0, 1, 0]])  # 5 of class 0, 2 of class 1
    second = np.array([[0, 0, 2, 2]])  # 2 of class 0, 2 of class 2
    frequencies = np.array([7 / 11, 2 / 7, 2 / 4])
    expected = np.append(0.5 / frequencies, 1.0)
    np.testing.assert_allclose(median_frequency_weights([first, second], 4).numpy(), expected, rtol=1e-6)
    with pytest.raises(ValueError, match="class 11, expected 0..10"):
        median_frequency_weights([np.array([11])], 11)


def test_guidance_by_hand():
    # Two classes in one row of two pixels and a second equal row: S jumps by 0.6 along x, D* from 2/3 to 4/3.
    probabilities = torch.tensor([[[[0.8, 0.2], [0.8, 0.2]], [[0.2, 0.8], [0.2, 0.8]]]], dtype=torch.float64)
    depth = torch.tensor([[[[2.0, 4.0], [2.0, 4.0]]]], dtype=torch.float64)
    weight = math.exp(-2 / 3)
    assert per_class_guidance(probabilities, depth).item() == pytest.approx(2 * 0.6 * weight)
    assert holistic_guidance(probabilities, depth).item() == pytest.approx(0.6 * weight)
    torch.testing.assert_close(
        holistic_guidance(probabilities, 5 * depth), holistic_guidance(probabilities, depth)
    )


def test_holistic_guidance_uses_the_vertical_depth_edge_for_the_vertical_term():
    probabilities = torch.tensor([[[[0.9, 0.9], [0.3, 0.3]], [[0.1, 0.1], [0.7, 0.7]]]], dtype=torch.float64)
    across = torch.tensor([[[[1.0, 3.0], [1.0, 3.0]]]], dtype=torch.float64)
    assert holistic_guidance(probabilities, across).item() == pytest.approx(0.6)
    assert holistic_guidance(probabilities, across.mT).item() == pytest.approx(0.6 * math.exp(-1))


def test_guidance_is_zero_on_constant_maps_and_sends_no_gradient_to_depth():
    logits = random(1, 3, 4, 5).requires_grad_()
    depth = (random(1, 1, 4, 5, seed=3).abs() + 0.5).requires_grad_()
    depth_with_sky = depth.detach().clone()
    depth_with_sky[..., 0, :2] = torch.inf
    depth_with_sky[..., 3, 3] = torch.nan
    for guidance in (per_class_guidance, holistic_guidance):
        assert guidance(torch.full((1, 2, 3, 3), 0.5), torch.rand(1, 1, 3, 3)).item() == 0
        guidance(logits.softmax(1), depth).backward()
        assert depth.grad is None
        assert gradcheck(lambda x, loss=guidance: loss(x.softmax(1), depth_with_sky), (logits,))


def test_the_holistic_loss_takes_the_strongest_class_where_the_per_class_loss_adds_all():
    # Along x the three classes change by 0.5, −0.2, −0.3; along y by −0.1, 0.3, −0.2 (left column) and −0.1, −0.1, 0.2.
    rows = [[[0.2, 0.5, 0.3], [0.7, 0.3, 0.0]], [[0.1, 0.8, 0.1], [0.6, 0.2, 0.2]]]
    probabilities = torch.tensor(rows, dtype=torch.float64).permute(2, 0, 1)[None]
    # Mean 2: D* is 0.5, 1.5 above 1.5, 0.5. Every |∂D*| is 1.
    depth = torch.tensor([[[[1.0, 3.0], [3.0, 1.0]]]], dtype=torch.float64)
    along_x, along_y = (1.0 + 1.2) / 2, (0.6 + 0.4) / 2  # sums over classes, means over the two places
    weight = math.exp(-1)
    assert per_class_guidance(probabilities, depth).item() == pytest.approx((along_x + along_y) * weight)
    strongest_x, strongest_y = (0.5 + 0.6) / 2, (0.3 + 0.2) / 2
    assert holistic_guidance(probabilities, depth).item() == pytest.approx((strongest_x + strongest_y) * weight)


@pytest.mark.parametrize("guidance", [per_class_guidance, holistic_guidance])
def test_guidance_normalises_depth_image_by_image(guidance):
    probabilities = random(2, 3, 4, 5).softmax(1)
    depth = random(2, 1, 4, 5, seed=3).abs() + 0.5
    both = guidance(probabilities, depth * torch.tensor([1.0, 40.0]).view(2, 1, 1, 1))
    alone = [guidance(probabilities[i : i + 1], depth[i : i + 1]) for i in range(2)]
    torch.testing.assert_close(both, (alone[0] + alone[1]) / 2)


@pytest.mark.parametrize("guidance", [per_class_guidance, holistic_guidance])
def test_guidance_asks_for_nothing_where_depth_is_not_known(guidance):
    probabilities = random(1, 3, 4, 5).softmax(1).requires_grad_()
    loss = guidance(probabilities, torch.full((1, 1, 4, 5), torch.nan))
    loss.backward()
    assert loss.item() == 0 and probabilities.grad.abs().max() == 0


def test_motion_loss_by_hand_with_unknown_pixels():
    logits = torch.tensor([0.0, 2.0, -1.0, 5.0], dtype=torch.float64).view(1, 1, 1, 4).requires_grad_()
    target = torch.tensor([1.0, 0.0, 1.0, torch.nan], dtype=torch.float64).view(1, 1, 1, 4)
    expected = (3 * math.log(2) + math.log(1 + math.exp(2)) + 3 * math.log(1 + math.e)) / 3
    loss = motion_loss(logits, target, positive_weight=3.0)
    assert loss.item() == pytest.approx(expected)
    loss.backward()
    assert torch.isfinite(logits.grad).all()
    assert logits.grad[..., 3].item() == 0
    assert gradcheck(lambda x: motion_loss(x, target, 2.0), (logits,))
    assert motion_loss(torch.tensor([[[[40.0, -40.0]]]]), torch.tensor([[[[1.0, 0.0]]]])).item() < 1e-12
    assert motion_loss(logits, torch.full_like(target, torch.nan)).item() == 0
