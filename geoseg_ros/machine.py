"""What a measurement ran on and how it was started."""

from __future__ import annotations

import os
import platform
import shlex
import subprocess
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


def git_commit() -> str:
    """The checkout's commit, "-dirty" behind it when tracked files differ; "unknown" outside a checkout."""
    folder = str(Path(__file__).resolve().parent)
    command = ["git", "-C", folder, "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    return done.stdout.strip() if done.returncode == 0 else "unknown"


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
