"""Number formats by name, and the one that suits a device."""

from __future__ import annotations

import torch

from geoseg_ros.errors import ConfigError

AUTO = "auto"
PRECISIONS = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
_FAST_BFLOAT16 = ("avx512_bf16", "amx_bf16")


def resolve_precision(name: str, device: str) -> str:
    """``auto`` becomes the fastest format that the device computes in: float16 on CUDA, bfloat16 on a CPU with instructions
    for it, else float32. Other names of PRECISIONS stay.

    Raises:
        ConfigError: unknown name.
    """
    if name == AUTO:
        if device.startswith("cuda"):
            return "float16"
        capabilities = getattr(torch.cpu, "get_capabilities", dict)()  # from torch 2.10 or so on
        return "bfloat16" if any(capabilities.get(known) for known in _FAST_BFLOAT16) else "float32"
    if name not in PRECISIONS:
        raise ConfigError(f"precision is {name!r}; expected one of {', '.join([AUTO, *PRECISIONS])}")
    return name
