"""Stand-ins for the packages that the public Monodepth2 code of 2019 imports, so that it runs beside today's torch.

Those of torchvision do the same work on PIL images and tensors (its later versions changed what the code calls);
the others are imported, but do nothing while training.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageEnhance
from torch import Tensor, nn


def install() -> None:
    """Make all of them importable."""
    resnet = _module("torchvision.models.resnet", BasicBlock=BasicBlock, Bottleneck=None)
    unused = dict.fromkeys(("resnet34", "resnet50", "resnet101", "resnet152"))
    models = _module("torchvision.models", ResNet=ResNet, resnet=resnet, resnet18=resnet18, **unused)
    transforms = _module("torchvision.transforms", ToTensor=ToTensor, Resize=Resize, ColorJitter=ColorJitter)
    _module("torchvision", models=models, transforms=transforms)
    _module("tensorboardX", SummaryWriter=SummaryWriter)
    _module("IPython", embed=None)
    _module("skimage", transform=_module("skimage.transform"))
    _module("six", moves=_module("six.moves", urllib=None))
    if not hasattr(Image, "ANTIALIAS"):
        Image.ANTIALIAS = Image.Resampling.LANCZOS


def _module(name: str, **content: Any) -> ModuleType:
    module = ModuleType(name)
    vars(module).update(content)
    sys.modules[name] = module
    return module


class BasicBlock(nn.Module):
    """Two 3×3 convolutions beside a shortcut (He et al., CVPR 2016)."""

    expansion = 1

    def __init__(self, c_in: int, c_out: int, stride: int, downsample: nn.Module | None) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(c_in, c_out, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(c_out)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(c_out, c_out, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(c_out)
        self.downsample = downsample

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        x = self.relu(self.bn1(self.conv1(x)))
        return self.relu(self.bn2(self.conv2(x)) + shortcut)


class ResNet(nn.Module):
    """The layers of a residual network by torchvision's names, the classifier left out."""

    def __init__(self, block: type[BasicBlock], layers: Sequence[int]) -> None:
        super().__init__()
        self.inplanes = 64
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        for index, (width, blocks) in enumerate(zip((64, 128, 256, 512), layers, strict=True)):
            setattr(self, f"layer{index + 1}", self._make_layer(block, width, blocks, stride=2 if index else 1))

    def _make_layer(self, block: type[BasicBlock], width: int, blocks: int, stride: int = 1) -> nn.Sequential:
        downsample = None
        if stride != 1 or self.inplanes != width:
            downsample = nn.Sequential(nn.Conv2d(self.inplanes, width, 1, stride, bias=False), nn.BatchNorm2d(width))
        layers = [block(self.inplanes, width, stride, downsample)]
        self.inplanes = width
        return nn.Sequential(*layers, *(block(width, width, 1, None) for _ in range(blocks - 1)))


def resnet18(pretrained: bool) -> ResNet:
    """18 layers with random weights."""
    if pretrained:
        raise ValueError("pretrained is True, expected False: weights do not change the speed")
    return ResNet(BasicBlock, (2, 2, 2, 2))


class ToTensor:
    """PIL image to 3×H×W float32 in 0…1."""

    def __call__(self, image: Image.Image) -> Tensor:
        array = torch.from_numpy(np.array(image, np.uint8, copy=True))
        return array.permute(2, 0, 1).contiguous().float().div(255)


class Resize:
    """PIL image to (height, width)."""

    def __init__(self, size: tuple[int, int], interpolation: int) -> None:
        self._size, self._interpolation = size[::-1], interpolation

    def __call__(self, image: Image.Image) -> Image.Image:
        return image.resize(self._size, self._interpolation)


class ColorJitter:
    """Brightness, contrast, saturation and hue, each drawn from its range, in random order."""

    @staticmethod
    def get_params(
        brightness: tuple[float, float],
        contrast: tuple[float, float],
        saturation: tuple[float, float],
        hue: tuple[float, float],
    ) -> Callable[[Image.Image], Image.Image]:
        """One drawn change of colours, to be applied to several images."""
        changes: list[Callable[[Image.Image], Image.Image]] = [
            _enhancement(kind, random.uniform(*bounds))
            for kind, bounds in (
                (ImageEnhance.Brightness, brightness),
                (ImageEnhance.Contrast, contrast),
                (ImageEnhance.Color, saturation),
            )
        ]
        changes.append(_hue_shift(random.uniform(*hue)))
        random.shuffle(changes)

        def jitter(image: Image.Image) -> Image.Image:
            for change in changes:
                image = change(image)
            return image

        return jitter


def _enhancement(kind: Any, factor: float) -> Callable[[Image.Image], Image.Image]:
    return lambda image: kind(image).enhance(factor)


def _hue_shift(share: float) -> Callable[[Image.Image], Image.Image]:
    def shift(image: Image.Image) -> Image.Image:
        hue, saturation, value = image.convert("HSV").split()
        turned = (np.array(hue, np.int16) + round(share * 255)).astype(np.uint8)
        return Image.merge("HSV", (Image.fromarray(turned), saturation, value)).convert("RGB")

    return shift


class SummaryWriter:
    """Writes nothing: neither side's logging is timed."""

    def __init__(self, *_: object) -> None:
        pass
