"""Photometric, census and smoothness losses: hand-computed values, perfect cases, gradients."""

from __future__ import annotations

import pytest
import torch
from torch.autograd import gradcheck

from geoseg_ros.training.losses.masked import known_or, masked_mean
from geoseg_ros.training.losses.photometric import (
    census_error,
    census_transform,
    l1_error,
    least_error,
    minimum_reprojection,
    photometric_error,
)
from geoseg_ros.training.losses.smoothness import (
    first_order_smoothness,
    multi_scale_smoothness,
    second_order_smoothness,
)
from geoseg_ros.training.losses.ssim import ssim, window_moments


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_masked_mean_drops_nan_and_an_empty_mask_gives_zero_gradient():
    values = torch.tensor([1.0, float("nan"), 3.0, 5.0], requires_grad=True)
    mask = torch.tensor([True, False, True, False])
    assert masked_mean(values, mask).item() == 2.0
    assert masked_mean(values, mask, torch.tensor([1.0, 1.0, 3.0, 1.0])).item() == pytest.approx(2.5)
    empty = masked_mean(values, torch.zeros(4, dtype=torch.bool))
    empty.backward()
    assert empty.item() == 0.0
    assert torch.equal(values.grad, torch.zeros(4))


def test_known_or_replaces_nan_inf_and_invalid():
    clean, known = known_or(
        torch.tensor([1.0, float("nan"), float("inf"), 4.0]), 7.0, torch.tensor([1, 1, 1, 0])
    )
    assert clean.tolist() == [1.0, 7.0, 7.0, 7.0]
    assert known.tolist() == [True, False, False, False]


def test_ssim_of_constant_images_is_the_luminance_term():
    a, b = torch.full((1, 3, 4, 5), 0.2), torch.full((1, 3, 4, 5), 0.6)
    expected = (2 * 0.2 * 0.6 + 1e-4) / (0.2**2 + 0.6**2 + 1e-4)
    torch.testing.assert_close(ssim(a, b), torch.full((1, 3, 4, 5), expected), rtol=1e-4, atol=1e-4)


def test_ssim_agrees_with_the_definition_on_one_window():
    a, b = random(1, 1, 3, 3, seed=1), random(1, 1, 3, 3, seed=2)
    mean_a, mean_b = a.mean(), b.mean()
    var_a, var_b = a.var(correction=0), b.var(correction=0)
    covariance = ((a - mean_a) * (b - mean_b)).mean()
    expected = (2 * mean_a * mean_b + 1e-4) * (2 * covariance + 9e-4)
    expected = expected / ((mean_a**2 + mean_b**2 + 1e-4) * (var_a + var_b + 9e-4))
    torch.testing.assert_close(ssim(a, b)[0, 0, 1, 1], expected)


def ssim_of_single_steps(a, b):
    """The definition, by pooling and autograd."""
    a, b = (torch.nn.functional.pad(image, (1,) * 4, mode="reflect") for image in (a, b))
    mean = lambda x: torch.nn.functional.avg_pool2d(x, 3, 1)  # noqa: E731
    covariance, squares = mean(a * b) - mean(a) * mean(b), mean(a) ** 2 + mean(b) ** 2
    variances = mean(a * a) + mean(b * b) - squares
    return (2 * mean(a) * mean(b) + 1e-4) * (2 * covariance + 9e-4) / ((squares + 1e-4) * (variances + 9e-4))


@pytest.mark.parametrize("size", [(2, 2), (3, 5), (6, 7)])
def test_ssim_and_its_derivative_are_those_of_the_definition(size):
    a, b = (random(2, 3, *size, seed=seed).requires_grad_() for seed in (1, 2))
    weights = random(2, 3, *size, seed=3)
    gradients = []
    for value in (ssim(a, b), ssim_of_single_steps(a, b), ssim(a, b, window_moments(b))):
        gradients.append(torch.autograd.grad((value * weights).sum(), (a, b)))
    torch.testing.assert_close(gradients[0], gradients[1])
    torch.testing.assert_close(gradients[2], gradients[1])
    torch.testing.assert_close(ssim(a, b), ssim_of_single_steps(a, b))


def test_ssim_gradient():
    a, b = (random(1, 1, 3, 4, seed=seed).requires_grad_() for seed in (4, 5))
    assert gradcheck(ssim, (a, b))
    assert gradcheck(lambda x: ssim(x, b.detach()), (a,))


def test_l1_error_is_the_mean_over_channels():
    a = torch.tensor([0.1, 0.5, 0.9]).view(1, 3, 1, 1)
    assert l1_error(a, torch.full_like(a, 0.5)).item() == pytest.approx(0.8 / 3)
    assert gradcheck(lambda x: l1_error(x, random(1, 3, 2, 2)), (random(1, 3, 2, 2, seed=1).requires_grad_(),))


def test_least_error_by_hand():
    errors = [torch.tensor([[[[1.0, 2.0, 3.0, 4.0]]]]), torch.tensor([[[[2.0, 1.0, 1.0, 1.0]]]])]
    valid = [torch.tensor([[[[True, True, True, False]]]]), torch.tensor([[[[True, True, False, False]]]])]
    error, mask = least_error(errors, valid, torch.tensor([[[[1.5, 1.0, 9.0, 9.0]]]]))
    assert error.flatten().tolist() == [1.0, 0.0, 3.0, 0.0]
    assert mask.flatten().tolist() == [True, False, True, False]
    error, mask = least_error(errors)
    assert error.flatten().tolist() == [1.0, 1.0, 1.0, 1.0] and mask.all()


def test_photometric_error_weighs_ssim_and_l1():
    a, b = (
        torch.full((1, 3, 4, 4), 0.5, dtype=torch.float64),
        torch.full((1, 3, 4, 4), 0.7, dtype=torch.float64),
    )
    luminance = (2 * 0.35 + 1e-4) / (0.25 + 0.49 + 1e-4)
    expected = 0.85 * (1 - luminance) / 2 + 0.15 * 0.2
    torch.testing.assert_close(
        photometric_error(a, b), torch.full((1, 1, 4, 4), expected, dtype=torch.float64)
    )


def test_photometric_error_is_zero_on_equal_images_and_float32_under_autocast():
    image = random(2, 3, 6, 7).float()
    with torch.autocast("cpu", torch.bfloat16):
        error = photometric_error(image.bfloat16(), image.bfloat16())
        census = census_error(image.bfloat16(), image.bfloat16())
    assert error.dtype == census.dtype == torch.float32
    assert error.abs().max() < 1e-5
    assert torch.equal(census, torch.zeros_like(census))


def test_photometric_gradient():
    a, b = random(1, 2, 4, 5, seed=3).requires_grad_(), random(1, 2, 4, 5, seed=4).requires_grad_()
    assert gradcheck(lambda x, y: photometric_error(x, y).mean(), (a, b))


def test_minimum_reprojection_takes_the_best_seen_source_and_masks_static_pixels():
    target = torch.full((1, 3, 4, 4), 0.5)
    near, far = torch.full_like(target, 0.55), torch.full_like(target, 0.9)
    hidden = torch.ones(1, 1, 4, 4, dtype=torch.bool)
    hidden[..., 0] = False
    all_seen = torch.ones_like(hidden)
    error, mask = minimum_reprojection(target, [near, far], valid=[hidden, all_seen])
    torch.testing.assert_close(error[..., 1:], photometric_error(near, target)[..., 1:])
    torch.testing.assert_close(error[..., :1], photometric_error(far, target)[..., :1])
    assert mask.all()

    _, mask = minimum_reprojection(target, [near], unwarped=[far])
    assert mask.all()
    error, mask = minimum_reprojection(target, [far], unwarped=[near])
    assert not mask.any()
    assert error.sum() == 0
    _, mask = minimum_reprojection(target, [near], unwarped=[near])
    assert not mask.any(), "a tie says nothing about depth"


def test_minimum_reprojection_gradient_is_finite_where_no_source_is_seen():
    target = random(1, 3, 5, 5, seed=1)
    warped = random(1, 3, 5, 5, seed=2).requires_grad_()
    seen = torch.zeros(1, 1, 5, 5, dtype=torch.bool)
    error, mask = minimum_reprojection(target, [warped], valid=[seen])
    error.mean().backward()
    assert not mask.any()
    assert torch.equal(warped.grad, torch.zeros_like(warped))


def test_census_of_a_step_and_its_blindness_to_brightness():
    image = torch.zeros(1, 1, 3, 3, dtype=torch.float64)
    image[..., 2] = 10 / 255
    signs = census_transform(image, radius=1)[0, :, 1, 1]
    soft = 10 / (0.81 + 100) ** 0.5
    torch.testing.assert_close(signs, torch.tensor([0, 0, soft] * 3, dtype=torch.float64))

    picture = random(1, 3, 9, 9) * 0.5
    assert census_error(picture + 0.2, picture).max() < 1e-12
    # From flat to a step of soft sign s: six of nine neighbours agree, three differ by s.
    flat = torch.zeros_like(image)
    expected = 3 * soft**2 / (0.1 + soft**2) / 9
    assert census_error(image, flat, radius=1)[0, 0, 1, 1].item() == pytest.approx(expected)


def test_census_gradient():
    a, b = random(1, 1, 4, 4, seed=5).requires_grad_(), random(1, 1, 4, 4, seed=6)
    assert gradcheck(lambda x: census_error(x / 20, b / 20, radius=1).mean(), (a,))


def test_first_order_smoothness_by_hand():
    disparity = torch.tensor([[[[1.0, 3.0], [1.0, 3.0]]]], dtype=torch.float64)
    flat = torch.zeros(1, 3, 2, 2, dtype=torch.float64)
    edge = flat.clone()
    edge[..., 1] = 0.5
    assert first_order_smoothness(disparity, flat).item() == pytest.approx(1.0, rel=1e-6)
    assert first_order_smoothness(disparity, edge).item() == pytest.approx(torch.e**-0.5, rel=1e-6)
    torch.testing.assert_close(
        first_order_smoothness(7 * disparity, flat), first_order_smoothness(disparity, flat)
    )
    assert (
        first_order_smoothness(torch.full((1, 1, 3, 3), 2.0), flat[..., :1, :1].expand(1, 3, 3, 3)).item()
        == 0
    )


def test_multi_scale_smoothness_by_hand():
    flat = torch.ones(1, 1, 4, 4, dtype=torch.float64)
    step = torch.tensor([0.5, 1.5], dtype=torch.float64).expand(1, 1, 2, 2)
    image = torch.zeros(1, 3, 4, 4, dtype=torch.float64)
    # A step of 1 over a mean of 1 costs 1 at half size, which counts half; the finest scale is flat.
    assert multi_scale_smoothness([flat, step], image).item() == pytest.approx(1 / 4, rel=1e-6)
    image[..., 2:] = 0.5  # the edge survives shrinking
    assert multi_scale_smoothness([flat, step], image).item() == pytest.approx(torch.e**-0.5 / 4, rel=1e-6)


def test_second_order_smoothness_by_hand():
    y, x = torch.meshgrid(torch.arange(4.0), torch.arange(5.0), indexing="ij")
    image = torch.zeros(1, 3, 4, 5)
    affine = torch.stack([2 * x + 3 * y, -x + 1])[None]
    assert second_order_smoothness(affine, image).item() == 0
    quadratic = torch.stack([x * x, torch.zeros_like(x)])[None]
    # ∂²x = 2 in one of two components, ∂²y = 0: (1 + 0) / 2.
    assert second_order_smoothness(quadratic, image).item() == pytest.approx(0.5)


def test_smoothness_gradients():
    image = random(1, 3, 4, 5, seed=7)
    disparity = (random(1, 1, 4, 5, seed=8) + 0.5).requires_grad_()
    flow = random(1, 2, 4, 5, seed=9).requires_grad_()
    assert gradcheck(lambda d: first_order_smoothness(d, image), (disparity,))
    half = (random(1, 1, 2, 3, seed=10) + 0.5).requires_grad_()
    assert gradcheck(lambda d, h: multi_scale_smoothness([d, h], image), (disparity, half))
    assert gradcheck(lambda f: second_order_smoothness(f, image), (flow,))
