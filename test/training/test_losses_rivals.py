"""The losses of guidance's rivals: hand-computed values, gradients, and what they leave alone."""

from __future__ import annotations

import math

import pytest
import torch
from torch.autograd import gradcheck

from geoseg_ros.training.losses.colourisation import chroma, colourisation_loss, grey
from geoseg_ros.training.losses.shared_class import class_indicator, frozen_depth_regulariser, shared_class_smoothness
from geoseg_ros.training.tasks.dynamic_masking import DynamicMasking, overlap
from geoseg_ros.training.tasks.shared_encoder import evaluating, scale_gradients

RIGHT_IS_NEARER = torch.tensor([[[[1.0, 3.0], [1.0, 3.0]]]])
"""Disparity; mean-normalised it is 0.5 and 1.5."""


def random(*shape, seed=0):
    return torch.rand(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def classes(*rows):
    """ψ of a label map of two classes, 1×2×H×W."""
    return torch.nn.functional.one_hot(torch.tensor([rows]), 2).movedim(-1, 1).float()


@pytest.mark.parametrize(
    ("rows", "value"),
    [
        (([0, 0], [0, 0]), 1.0),  # both steps along x inside one class
        (([0, 1], [0, 1]), 0.0),  # the class changes where disparity does
        (([0, 0], [0, 1]), 0.5),  # one of the two
        (([0, 0], [1, 1]), 1.0),  # disparity does not change along y, so that its classes do not matter
    ],
)
def test_disparity_is_smooth_inside_a_class(rows, value):
    assert shared_class_smoothness(RIGHT_IS_NEARER, classes(*rows)).item() == pytest.approx(value)
    assert shared_class_smoothness(10 * RIGHT_IS_NEARER, classes(*rows)).item() == pytest.approx(value), "scale earns nothing"


def test_unknown_disparity_adds_nothing():
    disparity = torch.tensor([[[[1.0, 3.0], [math.nan, 3.0]]]])  # mean 7/3; the one step that counts is 6/7, of two
    assert shared_class_smoothness(disparity, classes([0, 0], [0, 0])).item() == pytest.approx(3 / 7)
    unknown = torch.full((1, 1, 2, 2), math.inf)
    assert shared_class_smoothness(unknown, classes([0, 0], [0, 0])) == 0


def test_regulariser_gradient():
    disparity = (random(1, 1, 3, 4) + 0.2).requires_grad_()
    indicator = random(1, 3, 3, 4, seed=1).requires_grad_()
    assert gradcheck(shared_class_smoothness, (disparity, indicator))
    holed = disparity.detach().clone()
    holed[0, 0, 1, 2] = math.nan
    shared_class_smoothness(holed.requires_grad_(), indicator).backward()
    assert holed.grad[0, 0, 1, 2] == 0 and torch.isfinite(holed.grad).all()


def test_the_indicator_is_hard_and_its_gradient_straight():
    probabilities = torch.tensor([0.2, 0.5, 0.3]).view(1, 3, 1, 1).requires_grad_()
    indicator = class_indicator(probabilities)
    assert indicator.flatten().tolist() == [0, 1, 0]
    weights = torch.tensor([1.0, -2.0, 3.0]).view(1, 3, 1, 1)
    (weights * indicator).sum().backward()
    torch.testing.assert_close(probabilities.grad, weights)


def test_frozen_depth_pushes_neighbours_out_of_their_common_class():
    depth = (1 / RIGHT_IS_NEARER).requires_grad_()
    probabilities = torch.tensor([0.8, 0.2]).view(1, 2, 1, 1).repeat(1, 1, 2, 2).requires_grad_()
    loss = frozen_depth_regulariser(probabilities, depth)
    loss.backward()
    assert loss.item() == pytest.approx(1.0) and depth.grad is None
    # Each pixel has one neighbour along x, a step of 1 away, and the mean is over two steps.
    torch.testing.assert_close(probabilities.grad, classes([0, 0], [0, 0]) * 0.5)
    assert frozen_depth_regulariser(probabilities, torch.full_like(depth, 7.0)) == 0


def test_chroma_is_that_of_bt601_and_grey_has_none():
    red = torch.tensor([1.0, 0.0, 0.0]).view(1, 3, 1, 1)
    torch.testing.assert_close(chroma(red).flatten(), torch.tensor([-0.299 / 1.772, 0.5]))
    assert grey(red).flatten().tolist() == pytest.approx([0.299] * 3)
    torch.testing.assert_close(chroma(grey(red)), torch.zeros(1, 2, 1, 1))
    found = torch.tensor([0.1, 0.1]).view(1, 2, 1, 1)
    assert colourisation_loss(found, red).item() == pytest.approx((0.1 + 0.299 / 1.772 + 0.4) / 2)


def test_colourisation_gradient():
    image = random(1, 3, 2, 3)
    assert gradcheck(lambda found: colourisation_loss(found, image), (random(1, 2, 2, 3, seed=1).requires_grad_(),))


def test_gradients_are_scaled_and_values_are_not():
    feature = random(1, 2, 2, 2).requires_grad_()
    (scaled,) = scale_gradients([feature], 0.9)
    assert torch.equal(scaled, feature)
    scaled.square().sum().backward()
    torch.testing.assert_close(feature.grad, 0.9 * 2 * feature.detach())


def mask(*columns):
    return torch.tensor([columns], dtype=torch.bool).view(1, 1, 1, -1)


def test_overlap_of_masks():
    first = torch.cat([mask(1, 1, 0, 0), mask(0, 0, 0, 0)])
    second = torch.cat([mask(0, 1, 1, 0), mask(0, 0, 0, 0)])
    assert overlap(first, second)[0].item() == pytest.approx(1 / 3)
    assert overlap(first, second)[1].isnan()


def test_ever_fewer_images_are_masked_the_best_overlap_first():
    own = mask(1, 1, 1, 1).repeat(4, 1, 1, 1)
    warped = torch.cat([mask(1, 1, 1, 1), mask(1, 1, 1, 0), mask(1, 1, 0, 0), mask(1, 0, 0, 0)])

    def masked(progress):
        return DynamicMasking(0.75)(own, [warped], progress).flatten(1).any(1).tolist()

    assert masked(0.75) == [True] * 4, "all"
    assert masked(0.75 + 0.25 / 4) == [False, True, True, True], "the share is 3/4; the best ranks at 3/4"
    assert masked(0.9999) == [False, False, False, True]


def test_masked_are_own_and_warped_pixels_and_overlaps_are_remembered():
    masking = DynamicMasking(0.5)
    pixels = masking(mask(1, 1, 0, 0), [mask(0, 1, 1, 0), mask(1, 1, 0, 0)], 0.5)
    assert pixels.flatten().tolist() == [True, True, True, False]
    assert masking.overlaps[-1].item() == pytest.approx((1 / 3 + 1) / 2)
    assert not masking(mask(0, 0, 0, 0), [mask(0, 0, 0, 0)], 0.5).any()
    assert (masking.overlaps >= 0).sum() == 1, "an image without such a class has no overlap"
    # Of the two known by then this one ranks first, so that it stays masked to the end.
    assert masking(mask(1, 1, 1, 1), [mask(0, 0, 0, 1)], 0.99).any()


def test_evaluation_mode_is_left_as_it_was_entered():
    network = torch.nn.Sequential(torch.nn.BatchNorm2d(1), torch.nn.Dropout())
    network[0].eval()
    with pytest.raises(KeyError), evaluating(network):
        assert not network.training and not network[1].training
        raise KeyError
    assert network.training and network[1].training and not network[0].training
