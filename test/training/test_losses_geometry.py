"""Depth, flow and pose losses: hand-computed values, perfect cases, gradients."""

from __future__ import annotations

import math

import pytest
import torch
from torch.autograd import gradcheck

from geoseg_ros.networks.flow import FlowHead
from geoseg_ros.training.losses.depth import (
    gradient_matching_loss,
    log_depth_loss,
    relative_depth_loss,
    scale_drift_loss,
    scale_invariant_loss,
    sky_loss,
)
from geoseg_ros.training.losses.flow import (
    augmentation_distillation_loss,
    forward_backward_visibility,
    matching_loss,
    multilevel_flow_loss,
    range_map_visibility,
    robust_flow_loss,
    unsupervised_flow_loss,
)
from geoseg_ros.training.losses.photometric import census_error
from geoseg_ros.training.losses.pose import (
    direction_loss,
    pose_loss,
    rotation_angle,
    rotation_loss,
    translation_loss,
)

DEPTH_LOSSES = (scale_invariant_loss, log_depth_loss, gradient_matching_loss, relative_depth_loss, scale_drift_loss)


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def pose(
    axis: str = "y", angle: float = 0.0, translation: tuple[float, float, float] = (0, 0, 0)
) -> torch.Tensor:
    """1×4×4 float64 rotation about one axis, then translation."""
    cos, sin = math.cos(angle), math.sin(angle)
    first, second = {"x": (1, 2), "y": (2, 0), "z": (0, 1)}[axis]
    matrix = torch.eye(4, dtype=torch.float64)
    matrix[first, first] = matrix[second, second] = cos
    matrix[first, second], matrix[second, first] = -sin, sin
    matrix[:3, 3] = torch.tensor(translation, dtype=torch.float64)
    return matrix[None]


def test_relative_depth_loss_is_abs_rel():
    target = torch.tensor([[[[2.0, 10.0, torch.nan, torch.inf]]]])
    predicted = torch.tensor([[[[3.0, 9.0, 5.0, 60.0]]]])
    assert relative_depth_loss(1 / predicted, target).item() == pytest.approx((0.5 + 0.1) / 2)
    in_sky = (0.5 + 0.1 + 0.4) / 3
    assert relative_depth_loss(predicted, target, far=100.0, inverse=False).item() == pytest.approx(in_sky)


def test_scale_may_not_drift_but_shape_may_change():
    reference = 1 + random(2, 1, 4, 6)
    swapped = reference.flip(3)
    assert scale_drift_loss(swapped, reference, inverse=False).item() == pytest.approx(0, abs=1e-12)
    grown = torch.stack([2 * reference[0], reference[1]])
    assert scale_drift_loss(grown, reference, inverse=False).item() == pytest.approx(math.log(2) ** 2 / 2)


def test_sky_is_too_near_beyond_a_tenth_of_the_mean():
    """Inverse depths 0.02, 0.08, 0.5 and 0.6 have the mean 0.3; the sky is 1/15, 4/15 and 5/3 of it. Scale earns nothing, nothing
    pushes the first on, and the third, which is as near as a wall, is not believed to be sky."""
    inverse_depth = torch.tensor([0.02, 0.08, 0.5, 0.6], dtype=torch.float64).view(1, 1, 2, 2).requires_grad_()
    sky = torch.tensor([True, True, True, False]).view(1, 1, 2, 2)
    assert sky_loss(inverse_depth, sky).item() == pytest.approx((4 / 15 - 0.1) / 2)
    assert sky_loss(5 * inverse_depth, sky).item() == pytest.approx((4 / 15 - 0.1) / 2)
    assert sky_loss(inverse_depth, torch.zeros_like(sky)).item() == 0
    assert gradcheck(lambda d: sky_loss(d, sky), (inverse_depth,))


def test_depth_losses_by_hand():
    target = torch.tensor([1.0, 2.0, 4.0, torch.nan, -1.0, torch.inf], dtype=torch.float64).view(1, 1, 1, 6)
    predicted = torch.tensor([math.e, 2.0, 4.0, 9.0, 9.0, 9.0], dtype=torch.float64).view(1, 1, 1, 6)
    # δ = 1, 0, 0 on the three known pixels.
    assert scale_invariant_loss(predicted, target, inverse=False).item() == pytest.approx(1 / 3 - 0.5 / 9)
    assert scale_invariant_loss(1 / predicted, target).item() == pytest.approx(1 / 3 - 0.5 / 9)
    assert log_depth_loss(1 / predicted, target).item() == pytest.approx(1 / 3)
    assert scale_drift_loss(1 / predicted, target).item() == pytest.approx(1 / 9)
    # Along x the known pairs are (1, 0) and (0, 0); two pixels apart there is one, (1, 0); none is vertical.
    assert gradient_matching_loss(1 / predicted, target, scales=1).item() == pytest.approx(1 / 2)
    assert gradient_matching_loss(1 / predicted, target, scales=2).item() == pytest.approx((1 / 2 + 1) / 2)


def test_sky_is_left_out_or_as_far_as_told():
    target = torch.tensor([10.0, torch.inf, 300.0], dtype=torch.float64).view(1, 1, 1, 3)
    predicted = torch.tensor([0.1, 1 / 50, 1 / 100], dtype=torch.float64).view(1, 1, 1, 3)
    assert log_depth_loss(predicted, target).item() == pytest.approx(math.log(3) / 2)
    assert log_depth_loss(predicted, target, far=100.0).item() == pytest.approx(math.log(2) / 3)


@pytest.mark.parametrize("loss", DEPTH_LOSSES)
def test_depth_losses_are_zero_on_perfect_depth_and_have_clean_gradients(loss):
    target = random(2, 1, 8, 9, seed=1) * 20 + 1
    assert abs(loss(1 / target, target).item()) < 1e-12
    assert abs(loss(target, target, inverse=False).item()) < 1e-12
    target[0, :, :4] = torch.nan
    target[1, :, 2:4] = torch.inf
    prediction = (random(2, 1, 8, 9, seed=2) + 0.1).requires_grad_()
    assert gradcheck(lambda p: loss(p, target), (prediction,))
    loss(prediction, torch.full_like(target, torch.nan)).backward()
    assert torch.equal(prediction.grad, torch.zeros_like(prediction))


def test_scale_blind_losses_do_not_see_scale():
    target = random(2, 1, 8, 9, seed=1) * 20 + 1
    assert abs(scale_invariant_loss(3 / target, target, variance_focus=1.0).item()) < 1e-12
    assert abs(gradient_matching_loss(3 / target, target).item()) < 1e-12
    assert log_depth_loss(3 / target, target).item() == pytest.approx(math.log(3))


def test_robust_flow_loss_by_hand():
    target = torch.zeros(1, 2, 1, 3, dtype=torch.float64)
    target[0, :, 0, 2] = torch.nan
    flow = torch.tensor([[[[3.0, 0.0, 5.0]], [[4.0, 0.0, 5.0]]]], dtype=torch.float64)
    assert robust_flow_loss(flow, target).item() == pytest.approx(3.5)
    expected = (7.01**0.4 - 0.01**0.4) / 2
    assert robust_flow_loss(flow, target, exponent=0.4).item() == pytest.approx(expected)
    valid = torch.tensor([True, False, True]).view(1, 1, 1, 3)
    assert robust_flow_loss(flow, target, valid).item() == pytest.approx(7.0)


def test_one_unknown_component_makes_the_vector_unknown():
    target = torch.zeros(1, 2, 1, 2)
    target[0, 1, 0, 0] = torch.nan
    assert robust_flow_loss(torch.full((1, 2, 1, 2), 2.0), target).item() == 4.0


def test_multilevel_flow_levels_are_in_pixels_of_the_full_size():
    target = torch.zeros(1, 2, 8, 16)
    target[:, 0], target[:, 1] = 8.0, -4.0
    levels = [target, target[..., ::2, ::2], target[..., ::4, ::4]]
    assert multilevel_flow_loss(levels, target, [1.0, 0.5, 0.25]).item() == pytest.approx(0.0, abs=1e-6)
    off = levels[1] + 2.0  # two full-size pixels in each component
    assert multilevel_flow_loss([levels[0], off], target, [1.0, 0.5]).item() == pytest.approx(
        0.5 * 4.0, rel=1e-5
    )
    with pytest.raises(ValueError, match="zip"):
        multilevel_flow_loss(levels, target, [1.0])


def test_forward_backward_visibility():
    flow = torch.zeros(1, 2, 6, 10)
    flow[:, 0] = 3.0
    visible = forward_backward_visibility(flow, -flow)
    assert visible[..., :7].all()
    assert not visible[..., 7:].any(), "these pixels leave the image"
    assert not forward_backward_visibility(flow, torch.zeros_like(flow)).any()


def test_range_map_finds_what_nothing_maps_to():
    reverse = torch.zeros(1, 2, 4, 8)
    reverse[:, 0] = 2.0
    visible = range_map_visibility(reverse)
    assert not visible[..., :2].any()
    assert visible[..., 2:].all()
    reverse[:, 0] = 0.75
    # Column 0 keeps a quarter of pixel 0, column 1 gets three quarters of it and a quarter of the next.
    assert range_map_visibility(reverse)[0, 0, 0].tolist() == [False] + [True] * 7


def test_unsupervised_flow_loss_prefers_the_true_shift():
    previous = random(1, 3, 12, 20, seed=5).float()
    current = torch.roll(previous, 2, dims=3)
    truth = torch.zeros(1, 2, 12, 20)
    truth[:, 0] = -2.0
    visible = torch.ones(1, 1, 12, 20, dtype=torch.bool)
    visible[..., :5] = False  # the roll's seam, widened by the census window
    right = unsupervised_flow_loss(current, previous, truth, visible, ssim_weight=1.0)
    wrong = unsupervised_flow_loss(current, previous, torch.zeros_like(truth), visible, ssim_weight=1.0)
    assert right.item() < 0.2 * wrong.item()
    inner = visible.clone()
    inner[..., 17:] = False  # the border repeats other pixels in the two images
    assert unsupervised_flow_loss(current, previous, truth, inner).item() < 1e-4


def test_unsupervised_flow_gradient():
    current, previous = random(1, 1, 5, 6, seed=1) / 20, random(1, 1, 5, 6, seed=2) / 20
    flow = (random(1, 2, 5, 6, seed=3) * 0.4 + 0.2).requires_grad_()
    assert gradcheck(
        lambda f: unsupervised_flow_loss(current, previous, f, ssim_weight=0.5), (flow,), atol=1e-4
    )


def test_distillation_sends_no_gradient_to_the_teacher():
    student, teacher = (
        random(1, 2, 3, 3, seed=1).requires_grad_(),
        random(1, 2, 3, 3, seed=2).requires_grad_(),
    )
    assert augmentation_distillation_loss(student, student).item() == 0
    augmentation_distillation_loss(student, teacher).backward()
    assert teacher.grad is None
    assert gradcheck(lambda s: augmentation_distillation_loss(s, teacher), (student,))
    assert gradcheck(lambda s: robust_flow_loss(s, teacher.detach()), (student,))


@pytest.mark.parametrize("axis", ["x", "y", "z"])
@pytest.mark.parametrize("angle", [1e-6, 0.02, 1.0, 3.0])
def test_rotation_angle_is_exact(axis, angle):
    first = pose("z", 0.3) @ pose("x", 0.2)
    assert rotation_angle(first @ pose(axis, angle), first).item() == pytest.approx(angle, rel=1e-6)


def test_pose_losses_by_hand():
    target = pose("y", 0.0, (0.0, 0.0, 1.0))
    predicted = pose("y", 0.1, (1.0, 0.0, 0.0))
    assert rotation_loss(predicted, target).item() == pytest.approx(0.1)
    assert translation_loss(predicted, target).item() == pytest.approx(2.0)
    assert direction_loss(predicted, target).item() == pytest.approx(1.0)
    assert pose_loss(predicted, target, scene_depth=10.0, direction_weight=0.5).item() == pytest.approx(
        2 + 1 + 0.5
    )
    assert direction_loss(pose("x", 0.2, (0, 0, 3.0)), target).item() == pytest.approx(0.0, abs=1e-9)


def test_pose_losses_skip_unknown_and_standing_poses():
    moving, unknown = pose(translation=(0, 0, 1.0)), torch.full((1, 4, 4), torch.nan, dtype=torch.float64)
    standing = pose()
    predicted = torch.cat(
        [pose("y", 0.2, (0, 0, 2.0)), pose("x", 1.0, (5.0, 0, 0)), pose("z", 0.0, (1.0, 0, 0))]
    )
    predicted.requires_grad_()
    target = torch.cat([moving, unknown, standing])
    assert rotation_loss(predicted, target).item() == pytest.approx(0.1)
    assert translation_loss(predicted, target).item() == pytest.approx(1.0)
    assert direction_loss(predicted, target).item() == pytest.approx(0.0, abs=1e-9)
    pose_loss(predicted, target).backward()
    assert torch.isfinite(predicted.grad).all()
    assert torch.equal(predicted.grad[1], torch.zeros(4, 4, dtype=torch.float64))


def test_pose_loss_is_zero_with_zero_gradient_on_the_perfect_pose():
    predicted = pose("y", 0.3, (0.1, 0.2, 1.0)).requires_grad_()
    loss = pose_loss(predicted, predicted.detach().clone())
    loss.backward()
    assert loss.item() == pytest.approx(0.0, abs=1e-12)
    assert torch.isfinite(predicted.grad).all()


def test_pose_gradient():
    target = pose("y", 0.3, (0.1, 0.2, 1.0))
    predicted = (pose("x", 0.2, (0.3, 0.1, 0.8)) + 0.01).requires_grad_()
    assert gradcheck(lambda p: pose_loss(p, target), (predicted,))
    with torch.autocast("cpu", torch.bfloat16):
        assert rotation_loss(pose("y", 0.01).float(), pose().float()).item() == pytest.approx(0.01, rel=1e-3)


def test_multilevel_flow_agrees_with_the_networks_units():
    estimate = FlowHead([16, 24, 32, 48, 64]).eval()
    with torch.no_grad():
        for level, value in zip(estimate.levels, (0.0, 0.0, 0.5), strict=True):
            level.update.weight.zero_()
            level.update.bias.fill_(value)
        frame = [
            torch.zeros(1, width, 64 // s, 64 // s) for width, s in zip((32, 64, 96), (4, 8, 16), strict=True)
        ]
        coarse = estimate.coarse(frame, frame)
        middle = estimate.middle(frame, frame, coarse, None)
        fine = estimate.fine(frame, frame, middle, None)
        flows = (estimate.half(fine), fine.flow, middle.flow, coarse.flow)
    target = torch.full((1, 2, 64, 64), 0.5 * 16)  # half a pixel at 1/16
    assert multilevel_flow_loss(flows, target, [1.0] * 4).item() == pytest.approx(0, abs=1e-4)


def test_matching_loss_is_the_cross_entropy_of_the_four_cells_around_the_target():
    scores = random(1, 25, 3, 4, seed=5)
    start = torch.zeros(1, 2, 3, 4, dtype=torch.float64)
    start[:, 0] = 8.0
    target = torch.full((1, 2, 24, 32), torch.nan, dtype=torch.float64)
    target[0, :, 8 + 4, 8 + 4] = torch.tensor([8 + 6.0, -2.0])  # cell (1, 1): 3/4 cell right, 1/4 up of the start
    probability = scores[0, :, 1, 1].log_softmax(0).view(5, 5)
    expected = -(0.75 * (0.25 * probability[2, 2] + 0.75 * probability[2, 3]))
    expected = expected - 0.25 * (0.25 * probability[1, 2] + 0.75 * probability[1, 3])
    assert matching_loss(scores, start, target, 8).item() == pytest.approx(expected.item())


@pytest.mark.parametrize("flow", [(-17.0, 0.0), (0.0, 25.0), (17.0, 0.0)], ids=["outside left", "outside below", "not in reach"])
def test_matching_loss_leaves_out_what_cannot_be_matched(flow):
    scores = random(1, 25, 3, 8, seed=6).requires_grad_()
    target = torch.full((1, 2, 24, 64), torch.nan, dtype=torch.float64)
    target[0, :, 12, 12] = torch.tensor(flow)
    loss = matching_loss(scores, torch.zeros(1, 2, 3, 8, dtype=torch.float64), target, 8)
    loss.backward()
    assert loss.item() == 0 and scores.grad.abs().max() == 0


def test_matching_gradient():
    scores = random(2, 25, 3, 4, seed=7).requires_grad_()
    start = random(2, 2, 3, 4, seed=8) * 4
    target = random(2, 2, 24, 32, seed=9) * 9
    assert gradcheck(lambda s: matching_loss(s, start, target, 8), (scores,))


def test_unsupervised_flow_cannot_escape_through_its_masks():
    current, previous = random(1, 3, 16, 24, seed=1), random(1, 3, 16, 24, seed=2)
    flow = random(1, 2, 16, 24, seed=3).requires_grad_()
    hidden = torch.zeros(1, 1, 16, 24, dtype=torch.bool)
    free = unsupervised_flow_loss(current, previous, flow)
    assert unsupervised_flow_loss(current, previous, flow, hidden).item() == free.item() > 0.1

    far = torch.zeros(1, 2, 16, 24, dtype=torch.float64)
    far[:, 0] = 24 + 4 + 10  # all end outside; column 0 by 15 px, column 23 by 38; the margin is 16 / 4 px
    far.requires_grad_()
    loss = unsupervised_flow_loss(current, previous, far, hidden)
    loss.backward()
    assert loss.item() == pytest.approx(0.05 * (sum(range(15, 39)) / 24 - 4))
    assert (far.grad[:, 0] > 0).all(), "descent pulls the flow back"


def test_a_mask_of_most_pixels_is_obeyed():
    current, previous = random(1, 3, 16, 24, seed=1), random(1, 3, 16, 24, seed=2)
    still = torch.zeros(1, 2, 16, 24, dtype=torch.float64)
    visible = torch.ones(1, 1, 16, 24, dtype=torch.bool)
    visible[..., :6] = False
    expected = census_error(previous, current)[..., 6:].mean()
    torch.testing.assert_close(unsupervised_flow_loss(current, previous, still, visible), expected)
