"""Colour of whole batches: values by hand and against OpenCV, no example touched by another, targets as the camera saw them."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from geoseg_ros.training.data import jitter as jitter_module
from geoseg_ros.training.data.augmentation import AugmentConfig, augment, no_augmentation
from geoseg_ros.training.data.colour import draw_colour
from geoseg_ros.training.data.jitter import jitter, prepare_examples

CPU = torch.device("cpu")
STRONG = AugmentConfig(jitter=1.0, per_frame=0.3, grey=0.3, blur=0.5, motion_blur=0.5, noise=0.5, noise_sigma=0.1)


def unchanged(frames=1, examples=1, **changes):
    """The draw that changes nothing, but for ``changes``."""
    drawn = {
        "colour_gamma": torch.ones(examples, frames),
        "colour_matrix": torch.eye(3, 4).expand(examples, frames, 3, 4),
        "blur_kernel": torch.ones(examples, 1, 1),
        "noise_sigma": torch.zeros(examples),
        "noise_seed": torch.zeros(examples, dtype=torch.int64),
    }
    return {**drawn, **changes}


def stacked(examples):
    return {key: torch.from_numpy(np.stack([example[key] for example in examples])) for key in examples[0]}


def raw_sample(seed=0, size=(40, 24)):
    rng = np.random.default_rng(seed)
    image, previous = rng.integers(0, 256, (2, size[1], size[0], 3), np.uint8)
    semantic = rng.integers(0, 11, size[::-1], np.uint8)
    return {"image": image, "previous": previous, "semantic": semantic, "K": np.eye(3), "intrinsics_known": True}


def examples_of(count, config, size=(32, 16)):
    generators = np.random.default_rng(9).spawn(count)
    return [augment(raw_sample(i), size, config, generator) for i, generator in enumerate(generators)]


def test_gamma_and_matrix_by_hand():
    """Two examples of two frames, one pixel each; only the second frame of the first and the first of the second change."""
    pixel = torch.tensor([0.25, 0.5, 1.0])
    frames = pixel.view(1, 1, 3, 1, 1).expand(2, 2, 3, 1, 1)
    gamma = torch.tensor([[1.0, 2.0], [0.5, 1.0]])
    matrix = torch.eye(3, 4).repeat(2, 2, 1, 1)
    matrix[0, 1] = torch.tensor([[1.0, 0, 0, 0.1], [0, 2.0, 0, -0.1], [0.5, 0.5, 0, 0]])
    matrix[1, 0] = torch.tensor([[0, 0, 1.0, 0.5], [0, 0, 0, -0.2], [1.0, 0, 0, 0]])
    result = jitter(frames, unchanged(2, 2, colour_gamma=gamma, colour_matrix=matrix))[..., 0, 0]
    torch.testing.assert_close(result[0, 0], pixel)
    torch.testing.assert_close(result[1, 1], pixel)
    torch.testing.assert_close(result[1, 0], torch.tensor([0.0625 + 0.1, 2 * 0.25 - 0.1, (0.0625 + 0.25) / 2]))
    torch.testing.assert_close(result[0, 1], torch.tensor([1.0, 0.0, 0.5]))  # 1.5 and −0.2 end at the bounds


def test_each_example_is_blurred_by_its_own_kernel():
    torch.manual_seed(0)
    frames = torch.rand(2, 3, 3, 9, 12)
    kernels = torch.zeros(3, 5, 5)
    kernels[1, 2, 2] = 1
    for i in (0, 2):
        kernels[i] = torch.rand(5, 5)
        kernels[i] /= kernels[i].sum()
    result = jitter(frames, unchanged(2, 3, blur_kernel=kernels))
    for i in range(3):
        for f in range(2):
            picture = frames[f, i].permute(1, 2, 0).numpy()
            expected = cv2.filter2D(picture, -1, kernels[i].numpy(), borderType=cv2.BORDER_REPLICATE)
            np.testing.assert_allclose(result[f, i].permute(1, 2, 0), expected, atol=1e-6)
    np.testing.assert_allclose(result[:, 1], frames[:, 1], atol=1e-7)


def test_a_kernel_may_be_larger_than_the_picture():
    kernel = torch.full((1, 31, 31), 1 / 31**2)
    frames = torch.full((1, 1, 3, 4, 6), 0.3)
    torch.testing.assert_close(jitter(frames, unchanged(blur_kernel=kernel)), frames)


def test_nothing_is_convolved_where_no_example_wants_it(monkeypatch):
    monkeypatch.setattr(jitter_module.functional, "conv2d", None)
    kernels = torch.zeros(2, 11, 11)
    kernels[:, 5, 5] = 1
    frames = torch.rand(2, 2, 3, 4, 4)
    torch.testing.assert_close(jitter(frames, unchanged(2, 2, blur_kernel=kernels)), frames)


def test_noise_has_its_sigma_and_its_seed():
    frames = torch.full((2, 4, 3, 64, 64), 0.5)
    sigma, seed = torch.tensor([0.05, 0.0, 0.05, 0.02]), torch.tensor([5, 6, 5, 2**62 + 1])
    noise = jitter(frames, unchanged(2, 4, noise_sigma=sigma, noise_seed=seed)) - frames
    np.testing.assert_allclose(noise.std((0, 2, 3, 4)), sigma, rtol=0.05, atol=1e-7)
    assert noise.mean().abs() < 1e-3
    assert torch.equal(noise[:, 0], noise[:, 2])  # as its seed says
    assert not torch.equal(noise[0, 0], noise[1, 0])  # frames differ
    other = jitter(frames[:, :1], unchanged(2, 1, noise_sigma=sigma[:1], noise_seed=seed[1:2])) - frames[:, :1]
    assert not torch.equal(other[:, 0], noise[:, 0])


def test_a_batch_is_changed_as_opencv_changes_one_picture():
    """The whole chain but the noise, edges included."""
    config = no_augmentation(jitter=1.0, grey=0.3, blur=0.7, motion_blur=0.7)
    examples = examples_of(6, config)
    result = prepare_examples(stacked(examples), CPU)
    for i, example in enumerate(examples):
        for f, name in enumerate(("image", "previous")):
            picture = example[name].transpose(1, 2, 0).astype(np.float32) / 255
            picture = cv2.transform(picture ** example["colour_gamma"][f], example["colour_matrix"][f])
            picture = cv2.filter2D(picture, -1, example["blur_kernel"], borderType=cv2.BORDER_REPLICATE)
            np.testing.assert_allclose(result[name][i].permute(1, 2, 0), picture.clip(0, 1), atol=1e-5)


def test_an_example_looks_the_same_in_any_batch():
    examples = examples_of(6, STRONG)
    whole = prepare_examples(stacked(examples), CPU)
    backwards = prepare_examples(stacked(examples[::-1]), CPU)
    for i, example in enumerate(examples):
        alone = prepare_examples(stacked([example]), CPU)
        for name in ("image", "previous"):
            torch.testing.assert_close(alone[name][0], whole[name][i], rtol=0, atol=1e-6)
            torch.testing.assert_close(backwards[name][5 - i], whole[name][i], rtol=0, atol=1e-6)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_gives_what_the_cpu_gives_for_the_same_draws():
    """All but the noise, whose generator is the device's own; to a quarter of a grey level, since cuDNN may round to TF32."""
    config = no_augmentation(jitter=1.0, per_frame=0.3, grey=0.3, blur=0.5, motion_blur=0.5)
    examples = stacked(examples_of(6, config))
    expected, result = prepare_examples(examples, CPU), prepare_examples(examples, torch.device("cuda"))
    assert result.keys() == expected.keys() and {value.device.type for value in result.values()} == {"cuda"}
    for key, value in expected.items():
        torch.testing.assert_close(result[key].cpu(), value, rtol=0, atol=1 / 255 / 4)
    assert (expected["image"] - expected["image_clean"]).abs().mean() > 0.01


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_noise_on_cuda_has_its_sigma_and_its_seed():
    frames = torch.full((2, 3, 3, 64, 64), 0.5, device="cuda")
    drawn = unchanged(2, 3, noise_sigma=torch.tensor([0.05, 0.0, 0.05]), noise_seed=torch.tensor([5, 6, 5]))
    noise = (jitter(frames, drawn) - frames).cpu()
    np.testing.assert_allclose(noise.std((0, 2, 3, 4)), [0.05, 0, 0.05], rtol=0.05, atol=1e-7)
    assert torch.equal(noise[:, 0], noise[:, 2])


def test_targets_are_never_jittered():
    examples = stacked(examples_of(4, STRONG))
    before = {key: value.clone() for key, value in examples.items()}
    result = prepare_examples(examples, CPU)
    for name in ("image", "previous"):
        assert torch.equal(result[f"{name}_clean"], before[name] / 255)
        changed = (result[name] - result[f"{name}_clean"]).abs().mean((1, 2, 3))
        assert (changed > 0.01).all()
        assert 0 <= result[name].min() and result[name].max() <= 1
    assert all(torch.equal(value, before[key]) for key, value in examples.items())


def test_tasks_get_floats_and_no_drawn_numbers():
    examples = stacked(examples_of(3, STRONG))
    assert {examples[key].dtype for key in ("image", "previous", "semantic")} == {torch.uint8}
    result = prepare_examples(examples, CPU)
    shape = (3, 3, 16, 32)
    assert {key: (tuple(value.shape), value.dtype) for key, value in result.items()} == {
        **dict.fromkeys(("image", "previous", "image_clean", "previous_clean"), (shape, torch.float32)),
        "semantic": ((3, 16, 32), torch.int64),
        "K": ((3, 3, 3), torch.float32),
        "intrinsics_known": ((3,), torch.bool),
    }
    torch.testing.assert_close(result["semantic"], examples["semantic"].long())


def test_without_augmentation_input_and_target_agree():
    result = prepare_examples(stacked(examples_of(2, no_augmentation())), CPU)
    torch.testing.assert_close(result["image"], result["image_clean"], rtol=0, atol=1e-6)


def test_grey_pictures_have_equal_channels():
    result = prepare_examples(stacked(examples_of(2, no_augmentation(grey=1.0))), CPU)
    luma = torch.einsum("c,bchw->bhw", torch.tensor([0.299, 0.587, 0.114]), result["image_clean"])
    torch.testing.assert_close(result["image"], luma[:, None].expand(-1, 3, -1, -1), rtol=0, atol=1e-6)


def test_motion_blur_smears_all_frames_alike():
    frames = torch.zeros(3, 1, 3, 48, 96)
    frames[..., 24, 48] = 1
    config = no_augmentation(motion_blur=1.0, motion_blur_length=(6.0, 6.0))
    result = jitter(frames, stacked([draw_colour(3, config, np.random.default_rng(3))]))
    assert result[0].sum() == pytest.approx(3, abs=1e-3) and result.max() < 0.4
    torch.testing.assert_close(result[1:], result[:1].expand(2, -1, -1, -1, -1), rtol=0, atol=1e-7)
    assert frames[0, 0, 0, 24, 48] == 1
