"""Upsampling by value: nearest, bilinear, max-unpooling, transposed convolution, at even and odd sizes."""

from __future__ import annotations

import pytest
import torch

from geoseg_ros.networks.upsampling import UPSAMPLINGS, ResizeConvolution, create_upsampling, upsample_to

SMALL = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])


def finer(height, width, channels=1):
    return torch.zeros(1, channels, height, width)


@pytest.mark.parametrize(
    "size, expected",
    [
        ((4, 4), [[1, 1, 2, 2], [1, 1, 2, 2], [3, 3, 4, 4], [3, 3, 4, 4]]),
        ((3, 3), [[1, 1, 2], [1, 1, 2], [3, 3, 4]]),
    ],
)
def test_nearest_repeats(size, expected):
    up = create_upsampling("nearest", 1, 7)
    assert up.channels == 1
    assert up(SMALL, finer(*size))[0, 0].tolist() == expected


def test_bilinear_keeps_the_place_of_pixel_centres():
    up = create_upsampling("bilinear", 1, 7)
    row = up(torch.tensor([[[[0.0, 4.0]]]]), finer(1, 4))[0, 0, 0]
    assert row.tolist() == [0.0, 1.0, 3.0, 4.0]


@pytest.mark.parametrize(
    "seen, expected",
    [
        (
            [[5, 1, 0, 0], [1, 1, 0, 9], [0, 0, 1, 2], [7, 0, 3, 8]],
            [[1, 0, 0, 0], [0, 0, 0, 2], [0, 0, 0, 0], [3, 0, 0, 4]],
        ),
        ([[0, 0, 6], [0, 5, 2], [1, 2, -3]], [[0, 0, 2], [0, 1, 0], [0, 3, 4]]),
    ],
)
def test_unpooling_puts_values_where_the_maxima_were(seen, expected):
    up = create_upsampling("unpooling", 1, 1)
    torch.nn.init.ones_(up.project.weight)
    torch.nn.init.zeros_(up.project.bias)
    assert up(SMALL, torch.tensor([[seen]]).float())[0, 0].tolist() == expected


def test_unpooling_remembers_each_channel_on_its_own():
    up = create_upsampling("unpooling", 1, 2)
    up.project.weight.data = torch.tensor([1.0, 10.0]).view(2, 1, 1, 1)
    torch.nn.init.zeros_(up.project.bias)
    seen = torch.tensor([[[[9.0, 0], [0, 0]], [[0, 0], [0, 9.0]]]])
    result = up(torch.tensor([[[[3.0]]]]), seen)
    assert result.tolist() == [[[[3.0, 0], [0, 0]], [[0, 0], [0, 30.0]]]]


@pytest.mark.parametrize("size", [3, 4])
def test_transposed_convolution_spreads_each_value_by_its_kernel(size):
    up = create_upsampling("transposed", 1, 1)
    torch.nn.init.ones_(up.weight)
    torch.nn.init.zeros_(up.bias)
    expected = torch.tensor([[1.0, 3, 2, 2], [4, 10, 6, 6], [3, 7, 4, 4], [3, 7, 4, 4]])[:size, :size]
    torch.testing.assert_close(up(SMALL, finer(size, size))[0, 0], expected)


def test_a_resize_convolution_convolves_the_interpolated_map():
    up = ResizeConvolution("nearest", 1, 1)
    torch.nn.init.ones_(up.weight)
    torch.nn.init.zeros_(up.bias)
    result = up(SMALL, finer(4, 4))[0, 0]
    assert result[1, 1].item() == 4 * 1 + 2 * 2 + 2 * 3 + 4 and result[0, 0].item() == 4


@pytest.mark.parametrize("name", UPSAMPLINGS)
@pytest.mark.parametrize("size", [(6, 10), (5, 9)])
def test_every_upsampling_reaches_the_finer_size_and_says_its_channels(name, size):
    up = create_upsampling(name, 6, 4)
    result = up(torch.rand(2, 6, 3, 5), torch.rand(2, 4, *size))
    assert result.shape == (2, up.channels, *size)
    assert up.channels == (4 if name in ("unpooling", "transposed") else 6)


def test_upsample_to_takes_the_references_size():
    assert upsample_to(SMALL, finer(5, 7, channels=3)).shape == (1, 1, 5, 7)
