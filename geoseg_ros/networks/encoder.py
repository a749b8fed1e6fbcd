"""Image encoders behind one interface: five feature maps at 1/2, 1/4, 1/8, 1/16 and 1/32 of the input.

An encoder has ``channels`` (five ints), ``normalize`` and ``forward(image B×3×H×W, RGB in 0…1) -> list of five tensors``, whose
sizes are rounded up. With an output stride of 8 or 16 its last stages dilate their convolutions instead of halving the map (Yu
and Koltun, ICLR 2016), so that all later maps have 1/8 or 1/16; weights do not depend on it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from geoseg_ros.errors import ConfigError
from geoseg_ros.networks.blocks import RepConv

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
STRIDE = 32
OUTPUT_STRIDES = (8, 16, STRIDE)


class Normalize(nn.Module):
    """RGB 0…1 to zero mean and unit variance of ImageNet."""

    def __init__(self):
        super().__init__()
        mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))
        self.register_buffer("scale", 1 / std, persistent=False)
        self.register_buffer("shift", -mean / std, persistent=False)

    def forward(self, image: Tensor) -> Tensor:
        return torch.addcmul(self.shift, image, self.scale)


def stage_plan(output_stride: int) -> list[tuple[int, int, int]]:
    """Of the stages that lead to 1/8, 1/16 and 1/32: the stride, the dilation of the convolution that has it, and of the rest."""
    plan, dilation = [], 1
    for reached in OUTPUT_STRIDES:
        first = dilation
        if reached > output_stride:
            dilation *= 2
        plan.append((2 if reached <= output_stride else 1, first, dilation))
    return plan


class LiteEncoder(nn.Module):
    """Encoder of re-parameterisable blocks, small enough for a mobile CPU (after RepVGG, Ding et al., CVPR 2021)."""

    channels = (32, 48, 96, 160, 256)
    stem_depth = 2
    depths = (3, 4, 4, 2)

    def __init__(self, output_stride: int = STRIDE):
        super().__init__()
        self.normalize = Normalize()
        self.stem = self._stage(3, self.channels[0], self.stem_depth)
        plan = [(2, 1, 1), *stage_plan(output_stride)]
        self.stages = nn.ModuleList(
            self._stage(c_in, c_out, depth, *step)
            for c_in, c_out, depth, step in zip(self.channels, self.channels[1:], self.depths, plan)
        )

    @staticmethod
    def _stage(c_in: int, c_out: int, depth: int, stride: int = 2, first: int = 1, dilation: int = 1) -> nn.Sequential:
        """The size divided by ``stride``, then ``depth`` − 1 more blocks."""
        blocks = [RepConv(c_out, c_out, 3, dilation=dilation) for _ in range(depth - 1)]
        return nn.Sequential(RepConv(c_in, c_out, 3, stride, dilation=first), *blocks)

    def forward(self, image: Tensor) -> list[Tensor]:
        features = [self.stem(self.normalize(image))]
        for stage in self.stages:
            features.append(stage(features[-1]))
        return features


class BasicBlock(nn.Module):
    """Two 3×3 convolutions and a shortcut (He et al., CVPR 2016), with torchvision's attribute names.

    ``first`` is the dilation of the convolution that strides or, in a dilated encoder, would; ``dilation`` of what follows it.
    """

    expansion = 1

    def __init__(self, c_in: int, width: int, stride: int, first: int, dilation: int):
        super().__init__()
        self.conv1 = nn.Conv2d(c_in, width, 3, stride, first, first, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, dilation, dilation, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = shortcut(c_in, width, stride)

    def forward(self, x: Tensor) -> Tensor:
        kept = x if self.downsample is None else self.downsample(x)
        y = self.relu(self.bn1(self.conv1(x)))
        return self.relu(self.bn2(self.conv2(y)) + kept)


class Bottleneck(nn.Module):
    """1×1, 3×3 and 1×1 convolution and a shortcut (He et al., CVPR 2016), with torchvision's attribute names.

    Dilations as in :class:`BasicBlock`: the 3×3 convolution strides, and no other follows it.
    """

    expansion = 4

    def __init__(self, c_in: int, width: int, stride: int, first: int, dilation: int):
        super().__init__()
        c_out = width * self.expansion
        self.conv1 = nn.Conv2d(c_in, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, first, first, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, c_out, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(c_out)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = shortcut(c_in, c_out, stride)

    def forward(self, x: Tensor) -> Tensor:
        kept = x if self.downsample is None else self.downsample(x)
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.relu(self.bn2(self.conv2(y)))
        return self.relu(self.bn3(self.conv3(y)) + kept)


def shortcut(c_in: int, c_out: int, stride: int) -> nn.Sequential | None:
    """The projection beside a block that changes size or channels; ``None`` beside any other."""
    if stride == 1 and c_in == c_out:
        return None
    return nn.Sequential(nn.Conv2d(c_in, c_out, 1, stride, bias=False), nn.BatchNorm2d(c_out))


class ResNetEncoder(nn.Module):
    """A ResNet (He et al., CVPR 2016) without its classifier; a torchvision state dict loads by key."""

    widths = (64, 128, 256, 512)

    def __init__(self, block: type[BasicBlock | Bottleneck], depths: Sequence[int], output_stride: int = STRIDE):
        super().__init__()
        self.channels = (64, *(width * block.expansion for width in self.widths))
        self.normalize = Normalize()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        plan = [(1, 1, 1), *stage_plan(output_stride)]
        for index, (stride, first, dilation) in enumerate(plan):
            c_in, width, c_out = self.channels[index], self.widths[index], self.channels[index + 1]
            blocks = [block(c_in, width, stride, first, dilation)]
            blocks += [block(c_out, width, 1, dilation, dilation) for _ in range(depths[index] - 1)]
            setattr(self, f"layer{index + 1}", nn.Sequential(*blocks))

    def forward(self, image: Tensor) -> list[Tensor]:
        features = [self.relu(self.bn1(self.conv1(self.normalize(image))))]
        features.append(self.layer1(self.maxpool(features[0])))
        for layer in (self.layer2, self.layer3, self.layer4):
            features.append(layer(features[-1]))
        return features


ENCODERS: dict[str, Callable[[int], nn.Module]] = {
    "lite": LiteEncoder,
    "resnet18": partial(ResNetEncoder, BasicBlock, (2, 2, 2, 2)),
    "resnet50": partial(ResNetEncoder, Bottleneck, (3, 4, 6, 3)),
}


def create_encoder(name: str, output_stride: int = STRIDE) -> nn.Module:
    """The encoder of that name; its last map is 1/``output_stride`` of the image.

    Raises:
        ConfigError: unknown name or stride.
    """
    if name not in ENCODERS:
        raise ConfigError(f"encoder is {name!r}; expected one of {', '.join(sorted(ENCODERS))}")
    if output_stride not in OUTPUT_STRIDES:
        raise ConfigError(f"output_stride is {output_stride!r}; expected one of {', '.join(map(str, OUTPUT_STRIDES))}")
    return ENCODERS[name](output_stride)
