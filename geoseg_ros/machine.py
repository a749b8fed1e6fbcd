"""What a measurement ran on and how it was started."""

from __future__ import annotations

import os
import platform
import shlex
import sys
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from geoseg_ros import __version__

_PACKAGES = ("torch", "onnxruntime", "opencv-python-headless", "numpy")


def describe_machine() -> dict[str, str]:
    """Processor, cores that this process may use, memory, GPU, system, and versions of what computes."""
    import torch

    facts = {"processor": _processor(), "cores": str(usable_cores())}
    if memory := _memory_gib():
        facts["memory"] = f"{memory:.0f} GiB"
    facts["GPU"] = torch.cuda.get_device_name() if torch.cuda.is_available() else "none"
    facts["system"] = f"{platform.system()} {platform.release()}, Python {platform.python_version()}"
    for name in _PACKAGES:
        try:
            facts[name] = version(name)
        except PackageNotFoundError:
            continue
    facts["geoseg_ros"] = __version__
    return facts


def usable_cores() -> int:
    """CPU cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def command_line() -> str:
    """The command that started this process, as one would type it."""
    program = Path(sys.argv[0]).name
    return shlex.join([program if program != "__main__.py" else "geoseg", *sys.argv[1:]])


def now() -> str:
    """Date and time in UTC, to the second."""
    return datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M:%S UTC")


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _memory_gib() -> float:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    except (ValueError, OSError, AttributeError):
        return 0.0
