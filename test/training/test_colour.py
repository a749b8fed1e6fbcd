"""What is drawn for an example's colour: kernels that keep brightness, matrices that keep grey, frames that change alike."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geoseg_ros.training.data.augmentation import AugmentConfig, no_augmentation
from geoseg_ros.training.data.colour import COLOUR, colour_change, draw_colour, motion_blur_kernel


def draw(seed=0, frames=2, **changes):
    return draw_colour(frames, no_augmentation(**changes), np.random.default_rng(seed))


def test_nothing_is_drawn_where_nothing_is_wanted():
    drawn = draw(frames=3)
    assert tuple(drawn) == COLOUR
    np.testing.assert_array_equal(drawn["colour_gamma"], [1, 1, 1])
    np.testing.assert_array_equal(drawn["colour_matrix"], [np.eye(3, 4)] * 3)
    np.testing.assert_array_equal(drawn["blur_kernel"], [[1]])
    assert drawn["noise_sigma"] == 0


def test_the_frames_share_most_of_the_colour_change():
    shared = draw(2, frames=3, jitter=1.0, per_frame=0.0)
    for key in ("colour_gamma", "colour_matrix"):
        np.testing.assert_array_equal(shared[key], np.broadcast_to(shared[key][:1], shared[key].shape))
    varied = draw(2, frames=3, jitter=1.0, per_frame=0.1)
    matrices = varied["colour_matrix"]
    difference = np.abs(matrices[1] - matrices[0]).mean()
    assert 0 < difference < 0.5 * np.abs(matrices[0] - np.eye(3, 4)).mean()
    assert len(set(varied["colour_gamma"])) == 3


def test_colour_change_of_hue_and_saturation_keeps_grey():
    config = no_augmentation(brightness=0.0, contrast=0.0, saturation=0.9, hue=0.5)
    _, matrix = colour_change(config, np.random.default_rng(5))
    np.testing.assert_allclose(matrix @ [0.4, 0.4, 0.4, 1], [0.4] * 3, atol=1e-3)


def test_grey_is_the_luma_of_the_changed_colours():
    grey = draw(grey=1.0)["colour_matrix"]
    np.testing.assert_allclose(grey, [[[0.299, 0.587, 0.114, 0]] * 3] * 2, rtol=1e-6)
    colourful, grey = (draw(3, jitter=1.0, grey=share)["colour_matrix"] for share in (0.0, 1.0))
    expected = np.broadcast_to((np.array([0.299, 0.587, 0.114]) @ colourful)[:, None], (2, 3, 4))
    np.testing.assert_allclose(grey, expected, atol=1e-6)


@pytest.mark.parametrize(("angle", "row"), [(0.0, True), (np.pi / 2, False)])
def test_a_motion_blur_along_an_axis_is_a_row_or_column(angle, row):
    kernel = motion_blur_kernel(4.0, angle)
    line = kernel[2] if row else kernel[:, 2]
    assert kernel.shape == (5, 5)
    np.testing.assert_allclose(line.sum(), 1, atol=1e-6)
    np.testing.assert_allclose(line[1:4], line[2], rtol=0.1)
    np.testing.assert_allclose(line[[0, 4]], line[2] / 2, rtol=0.2)


@given(length=st.floats(1, 64), angle=st.floats(0, np.pi))
def test_any_motion_blur_keeps_brightness_and_centre(length, angle):
    kernel = motion_blur_kernel(length, angle)
    offsets = np.arange(len(kernel)) - len(kernel) // 2
    assert kernel.sum() == pytest.approx(1, abs=1e-5)
    np.testing.assert_allclose(kernel, kernel[::-1, ::-1], atol=1e-6)
    spread = np.sqrt((kernel * (offsets[:, None] ** 2 + offsets**2)).sum())
    assert spread == pytest.approx(length / np.sqrt(12), abs=0.75)  # of an even line of that length


@given(
    seed=st.integers(0, 10_000),
    blur=st.sampled_from([0.0, 0.5, 1.0]),
    motion=st.sampled_from([0.0, 0.5, 1.0]),
    length=st.floats(1, 64),
)
def test_any_blur_has_the_size_of_its_configuration_and_keeps_brightness(seed, blur, motion, length):
    config = no_augmentation(blur=blur, motion_blur=motion, motion_blur_length=(1.0, length))
    kernel = draw_colour(1, config, np.random.default_rng(seed))["blur_kernel"]
    radius = (5 if blur else 0) + (int(np.ceil(length / 2)) if motion else 0)
    assert kernel.shape == (2 * radius + 1, 2 * radius + 1) and kernel.dtype == np.float32
    assert kernel.sum() == pytest.approx(1, abs=1e-5) and kernel.min() >= 0
    if 1.0 in (blur, motion):
        assert kernel[radius, radius] < 1
    elif kernel[radius, radius] == 1:
        assert np.count_nonzero(kernel) == 1


def test_out_of_focus_and_motion_add_their_spreads():
    """Variances of two blurs in sequence are summed: σ² of the Gaussian, and length²/12 of the line, along x."""
    both = draw(1, blur=1.0, motion_blur=1.0, motion_blur_length=(6.0, 6.0))["blur_kernel"].astype(np.float64)
    offsets = np.arange(len(both)) - len(both) // 2
    covariance = np.einsum("yx,y,x->", both, offsets, offsets)
    variances = [(both.sum(axis) * offsets**2).sum() for axis in (0, 1)]
    narrow, wide = np.linalg.eigvalsh([[variances[0], covariance], [covariance, variances[1]]])
    assert 0.3**2 < narrow < 1.2**2 + 0.3
    assert wide - narrow == pytest.approx(36 / 12, abs=0.2)


def test_an_examples_noise_follows_from_its_own_numbers():
    config = AugmentConfig(noise=1.0, noise_sigma=0.1)
    drawn = [draw_colour(2, config, generator) for generator in np.random.default_rng(0).spawn(20)]
    again = draw_colour(2, config, np.random.default_rng(0).spawn(20)[7])
    for key in COLOUR:
        np.testing.assert_array_equal(again[key], drawn[7][key])
    assert len({int(example["noise_seed"]) for example in drawn}) == 20
    sigmas = [example["noise_sigma"] for example in drawn]
    assert 0 < min(sigmas) < 0.03 and 0.07 < max(sigmas) < 0.1
