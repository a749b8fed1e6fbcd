"""From a source's batch to the task's: pictures that travelled as uint8 become float32 on the device that trains, and the
network's input takes the colour, blur and noise that were drawn for each example.

All frames of a batch change together. What an example becomes does not depend on the others of its batch.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from geoseg_ros.training.data.augmentation import FRAMES
from geoseg_ros.training.data.colour import COLOUR


def prepare_examples(examples: dict[str, Tensor], device: torch.device) -> dict[str, Tensor]:
    """A source's batch (see ``source``), which lies on the CPU, as tasks take it: on ``device``, to which page-locked memory is
    copied without waiting, with

    - image, previous, next: B×3×H×W float32 in [0, 1], jittered; for the network alone
    - image_clean, previous_clean, next_clean: the same without jitter; for losses
    - semantic: B×H×W int64

    and every other key as the source gave it, but for the drawn colour changes, which are used up.
    """
    result = {
        key: value.to(device, non_blocking=True) for key, value in examples.items() if key not in COLOUR
    }
    names = [name for name in FRAMES if name in result]
    clean = torch.stack([result[name] for name in names]).float().div_(255)
    for name, picture, changed in zip(names, clean, jitter(clean, examples), strict=True):
        result[f"{name}_clean"], result[name] = picture, changed
    if "semantic" in result:
        result["semantic"] = result["semantic"].long()
    return result


def jitter(frames: Tensor, drawn: dict[str, Tensor]) -> Tensor:
    """F×B×3×H×W float32 frames in [0, 1], each example changed as ``drawn`` says; in [0, 1] again, ``frames`` stay.

    ``drawn`` holds what :func:`~geoseg_ros.training.data.colour.draw_colour` gives, stacked over B examples, on the CPU: what no
    example wants is left out without waiting for the device.
    """
    result = _change_colour(frames, drawn["colour_gamma"], drawn["colour_matrix"])
    _blur(result, drawn["blur_kernel"])
    _add_noise(result, drawn["noise_sigma"], drawn["noise_seed"])
    return result.clamp_(0, 1)


def _change_colour(frames: Tensor, gamma: Tensor, matrix: Tensor) -> Tensor:
    """M·v^γ for every RGB value v, with γ B×F and M B×F×3×4."""
    if (gamma != 1).any():
        frames = frames ** gamma.T[..., None, None, None].to(frames.device)
    matrix = matrix.transpose(0, 1).flatten(0, 1).to(frames.device)
    pixels = frames.flatten(0, 1).flatten(2)
    return torch.baddbmm(matrix[..., 3:], matrix[..., :3], pixels).view_as(frames)


def _blur(frames: Tensor, kernels: Tensor) -> None:
    """Filter the examples whose kernel (of B×k×k) is not the identity, in place; the pictures' edges are repeated.

    One grouped convolution: the examples are its channels, frames and colours its batch.
    """
    radius = kernels.shape[-1] // 2
    blurred = (kernels[:, radius, radius] < 1).nonzero()[:, 0]
    if not len(blurred):
        return
    planes = frames[:, blurred].transpose(1, 2).flatten(0, 1)
    planes = functional.pad(planes, (radius,) * 4, mode="replicate")
    planes = functional.conv2d(planes, kernels[blurred, None].to(frames.device), groups=len(blurred))
    frames[:, blurred] = planes.unflatten(0, (len(frames), 3)).transpose(1, 2)


def _add_noise(frames: Tensor, sigma: Tensor, seed: Tensor) -> None:
    """Add Gaussian noise to the examples whose sigma (of B) is above 0, each from its own seed, in place."""
    generator = torch.Generator(frames.device)
    for i in sigma.nonzero()[:, 0].tolist():
        generator.manual_seed(int(seed[i]))
        noise = torch.randn(frames[:, i].shape, generator=generator, device=frames.device)
        frames[:, i].add_(noise, alpha=float(sigma[i]))
