"""The network of a checkout of github.com/CoinCheung/BiSeNet, as it is, without the download of its backbone's weights."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType
from unittest import mock

from torch import Tensor, nn
from torch.utils import model_zoo

SOURCE = Path("lib/models/bisenetv1.py")


class PublicBiSeNet(nn.Module):
    """BiSeNetV1 on ResNet-18 with random weights, as for inference: B×3×H×W, sides multiples of 32, to logits B×classes×H×W."""

    def __init__(self, checkout: Path, classes: int) -> None:
        super().__init__()
        with (
            mock.patch.dict(sys.modules, {"torchvision": ModuleType("torchvision")}),  # imported there, and not used
            mock.patch.object(sys, "path", [str(checkout), *sys.path]),
            mock.patch.object(model_zoo, "load_url", lambda url: {}),
        ):
            module = importlib.import_module(".".join(SOURCE.with_suffix("").parts))
            self.network = module.BiSeNetV1(classes, aux_mode="eval")
        self.eval()

    def forward(self, image: Tensor) -> Tensor:
        return self.network(image)[0]
