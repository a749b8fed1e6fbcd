"""Image encoders behind one interface: five feature maps at 1/2, 1/4, 1/8, 1/16 and 1/32 of the input.

An encoder has ``channels`` (five ints) and ``forward(image B×3×H×W, RGB in 0…1) -> list of five tensors``.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from geoseg_ros.errors import ConfigError
from geoseg_ros.networks.blocks import RepConv

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
STRIDE = 32


class Normalize(nn.Module):
    """RGB 0…1 to zero mean and unit variance of ImageNet."""

    def __init__(self):
        super().__init__()
        mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))
        self.register_buffer("scale", 1 / std, persistent=False)
        self.register_buffer("shift", -mean / std, persistent=False)

    def forward(self, image: Tensor) -> Tensor:
        return torch.addcmul(self.shift, image, self.scale)


class LiteEncoder(nn.Module):
    """Encoder of re-parameterisable blocks, small enough for a mobile CPU (after RepVGG, Ding et al., CVPR 2021)."""

    channels = (32, 48, 96, 160, 256)
    stem_depth = 2
    depths = (3, 4, 4, 2)

    def __init__(self):
        super().__init__()
        self.normalize = Normalize()
        self.stem = self._stage(3, self.channels[0], self.stem_depth)
        self.stages = nn.ModuleList(
            self._stage(c_in, c_out, depth) for c_in, c_out, depth in zip(self.channels, self.channels[1:], self.depths)
        )

    @staticmethod
    def _stage(c_in: int, c_out: int, depth: int) -> nn.Sequential:
        """Half the size, then ``depth`` − 1 more blocks."""
        blocks = [RepConv(c_out, c_out, 3) for _ in range(depth - 1)]
        return nn.Sequential(RepConv(c_in, c_out, 3, stride=2), *blocks)

    def forward(self, image: Tensor) -> list[Tensor]:
        features = [self.stem(self.normalize(image))]
        for stage in self.stages:
            features.append(stage(features[-1]))
        return features


class BasicBlock(nn.Module):
    """Two 3×3 convolutions and a shortcut (He et al., CVPR 2016), with torchvision's attribute names."""

    def __init__(self, c_in: int, c_out: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(c_in, c_out, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(c_out)
        self.conv2 = nn.Conv2d(c_out, c_out, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(c_out)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = None
        if stride != 1 or c_in != c_out:
            self.downsample = nn.Sequential(nn.Conv2d(c_in, c_out, 1, stride, bias=False), nn.BatchNorm2d(c_out))

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        y = self.relu(self.bn1(self.conv1(x)))
        return self.relu(self.bn2(self.conv2(y)) + shortcut)


class ResNet18Encoder(nn.Module):
    """ResNet-18 (He et al., CVPR 2016) without its classifier; a torchvision state dict loads by key."""

    channels = (64, 64, 128, 256, 512)

    def __init__(self):
        super().__init__()
        self.normalize = Normalize()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        self.layer1 = self._layer(64, 64, 1)
        self.layer2 = self._layer(64, 128, 2)
        self.layer3 = self._layer(128, 256, 2)
        self.layer4 = self._layer(256, 512, 2)

    @staticmethod
    def _layer(c_in: int, c_out: int, stride: int) -> nn.Sequential:
        return nn.Sequential(BasicBlock(c_in, c_out, stride), BasicBlock(c_out, c_out, 1))

    def forward(self, image: Tensor) -> list[Tensor]:
        features = [self.relu(self.bn1(self.conv1(self.normalize(image))))]
        features.append(self.layer1(self.maxpool(features[0])))
        for layer in (self.layer2, self.layer3, self.layer4):
            features.append(layer(features[-1]))
        return features


ENCODERS: dict[str, type[nn.Module]] = {"lite": LiteEncoder, "resnet18": ResNet18Encoder}


def create_encoder(name: str) -> nn.Module:
    """The encoder of that name.

    Raises:
        ConfigError: unknown name.
    """
    if name not in ENCODERS:
        raise ConfigError(f"encoder is {name!r}; expected one of {', '.join(sorted(ENCODERS))}")
    return ENCODERS[name]()
