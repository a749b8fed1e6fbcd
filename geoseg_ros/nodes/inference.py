"""The pipeline on the device asked for; where its memory runs out, on a smaller input, then on the CPU."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import NamedTuple, TypeVar

import torch

from geoseg_ros.bundle import Bundle
from geoseg_ros.pipeline import Pipeline

T = TypeVar("T")
OutOfMemory = torch.cuda.OutOfMemoryError


class _Way(NamedTuple):
    """How to run; ``input_area`` in pixels, None for the model's own."""

    name: str
    device: str
    input_area: int | None


class Inference:
    """A pipeline that survives running out of device memory; ``degraded`` says what it gave up."""

    def __init__(
        self,
        bundle: Bundle,
        device: str,
        precision: str,
        warn: Callable[[str], None],
        create: Callable[..., Pipeline] = Pipeline,
        camera_height: float = 0.0,
        threads: int = 0,
    ) -> None:
        """Build the pipeline and warm it up. Raises BundleError or ConfigError where that is impossible.

        ``threads``: of the CPU, 0 for half of its cores. Each operation ends with its slowest thread: one that shares
        its core with other processes makes the others wait.
        """
        torch.set_num_threads(threads or max(1, (os.cpu_count() or 1) // 2))
        width, height = bundle.input_size
        self._ways = [
            _Way(device, device, None),
            _Way("half the input area", device, width * height // 2),
            _Way("the CPU", "cpu", None),
        ]
        self._bundle = bundle
        self._precision = precision
        self._camera_height = camera_height
        self._warn = warn
        self._create = create
        self._pipeline: Pipeline | None = None
        self.degraded = ""
        camera = None if bundle.camera is None else bundle.camera.resize(width, height)
        self.run(lambda pipeline: pipeline.warm_up(width, height, camera))

    @property
    def device(self) -> str:
        """Where it computes now."""
        return "" if self._pipeline is None else self._pipeline.device

    @property
    def gives(self) -> frozenset[str]:
        """The outputs that the model can give."""
        return self._ready().gives

    def run(self, call: Callable[[Pipeline], T]) -> T:
        """``call(pipeline)``; when memory runs out again in the next way, which is then kept."""
        while len(self._ways) > 1:
            try:
                return call(self._ready())
            except OutOfMemory as error:
                reason = str(error).partition(". ")[0]
            self._fall_back(reason)
        return call(self._ready())

    def _ready(self) -> Pipeline:
        if self._pipeline is None:
            way = self._ways[0]
            self._pipeline = self._create(
                self._bundle,
                device=way.device,
                precision=self._precision,
                input_area=way.input_area,
                camera_height=self._camera_height,
            )
        return self._pipeline

    def _fall_back(self, reason: str) -> None:
        """Free the device's memory before the next way takes its own."""
        failed = self._ways.pop(0)
        self._pipeline = None
        torch.cuda.empty_cache()
        self.degraded = f"out of memory with {failed.name}, went on with {self._ways[0].name} ({reason})"
        self._warn(self.degraded)
