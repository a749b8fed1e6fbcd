"""Counts, rates and ages of the frames that pass through the node, and an estimate of those that never
reached it.

Counts run since the node was activated; rates and quantiles cover the recent past, which a time jump clears.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from dataclasses import dataclass, field

import numpy as np

NANOSECONDS = 1_000_000_000
RATE_WINDOW = 5.0  # s
_SAMPLES = 600
_PAUSE = 2 * NANOSECONDS  # a longer gap between stamps is a camera that paused, not lost frames
_MIN_STAMPS = 10

SKIPPED = "skipped for a newer frame"
BAD_INPUT = "bad input"
FAILED = "inference failed"
UNWANTED = "nobody subscribed"
CAUSES = (SKIPPED, BAD_INPUT, FAILED, UNWANTED)


class Rate:
    """Events per second over the last :data:`RATE_WINDOW` seconds."""

    def __init__(self) -> None:
        self._times: deque[float] = deque()

    def tick(self, now: float) -> None:
        """Note an event at ``now`` (seconds, monotonic)."""
        self._times.append(now)
        self._forget(now)

    def value(self, now: float) -> float:
        """Hz; 0 where fewer than two events lie in the window."""
        self._forget(now)
        if len(self._times) < 2:
            return 0.0
        mean_period = (self._times[-1] - self._times[0]) / (len(self._times) - 1)
        return 1.0 / max(mean_period, now - self._times[-1], 1e-9)

    def clear(self) -> None:
        self._times.clear()

    def _forget(self, now: float) -> None:
        while self._times and self._times[0] < now - RATE_WINDOW:
            self._times.popleft()


class LossEstimator:
    """How many images were sent but never received, from the gaps between stamps.

    The camera's period is the shortest usual step between stamps of images or of its camera_info, which is
    small enough to arrive even where images do not.
    """

    def __init__(self) -> None:
        self._images: deque[int] = deque(maxlen=_SAMPLES)
        self._infos: deque[int] = deque(maxlen=_SAMPLES)

    def image(self, stamp: int) -> None:
        self._images.append(stamp)

    def camera_info(self, stamp: int) -> None:
        self._infos.append(stamp)

    def clear(self) -> None:
        self._images.clear()
        self._infos.clear()

    def estimate(self) -> tuple[int, int]:
        """(images lost, images sent) over the stamps kept; (0, 0) where too few are known."""
        periods = [self._period(self._images), self._period(self._infos)]
        periods = [period for period in periods if period]
        if not periods or len(self._images) < 3:
            return 0, 0
        steps = np.diff(np.array(self._images, np.int64))
        steps = steps[(steps > 0) & (steps < _PAUSE)]
        sent = int(np.maximum(np.rint(steps / min(periods)), 1).sum())
        return sent - len(steps), sent

    @staticmethod
    def _period(stamps: deque[int]) -> float:
        if len(stamps) < _MIN_STAMPS:
            return 0.0
        steps = np.diff(np.array(stamps, np.int64))
        steps = steps[steps > 0]
        return float(np.quantile(steps, 0.1)) if len(steps) else 0.0


@dataclass(frozen=True)
class Snapshot:
    """The statistics at one moment. Times in seconds, quantiles NaN where nothing was published yet."""

    received: int
    published: int
    drops: dict[str, int]
    time_jumps: int
    input_rate: float
    output_rate: float
    inference: tuple[float, float]
    age: tuple[float, float]
    stamp_age: tuple[float, float]
    lost: int
    sent: int
    stages: dict[str, float] = field(default_factory=dict)


class Statistics:
    """Shared by the executor's thread and the inference thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.start()

    def start(self) -> None:
        """Begin anew, counts too."""
        with self._lock:
            self._received = self._published = self._time_jumps = 0
            self._drops: Counter[str] = Counter()
            self._input, self._output, self._loss = Rate(), Rate(), LossEstimator()
            self._inference: deque[float] = deque(maxlen=_SAMPLES)
            self._ages: deque[float] = deque(maxlen=_SAMPLES)
            self._stamp_ages: deque[float] = deque(maxlen=_SAMPLES)
            self._stages: dict[str, float] = {}

    def time_jumped(self) -> None:
        """Forget rates, quantiles and stamps; counts stay."""
        with self._lock:
            self._time_jumps += 1
            for recent in (
                self._input,
                self._output,
                self._loss,
                self._inference,
                self._ages,
                self._stamp_ages,
            ):
                recent.clear()

    def received(self, stamp: int) -> None:
        """An image arrived; its stamp in nanoseconds."""
        with self._lock:
            self._received += 1
            self._input.tick(time.monotonic())
            self._loss.image(stamp)

    def camera_info_received(self, stamp: int) -> None:
        """A camera_info arrived; its stamp in nanoseconds."""
        with self._lock:
            self._loss.camera_info(stamp)

    def dropped(self, cause: str) -> None:
        """An image was dropped, for one of :data:`CAUSES`."""
        with self._lock:
            self._drops[cause] += 1

    def published(self, inference: float, age: float, stamp_age: float, stages: dict[str, float]) -> None:
        """Outputs were published: seconds of inference, since arrival, since the stamp, by stage."""
        with self._lock:
            self._published += 1
            self._output.tick(time.monotonic())
            self._inference.append(inference)
            self._ages.append(age)
            self._stamp_ages.append(stamp_age)
            self._stages = dict(stages)

    def snapshot(self) -> Snapshot:
        """All of it, now."""
        now = time.monotonic()
        with self._lock:
            lost, sent = self._loss.estimate()
            return Snapshot(
                received=self._received,
                published=self._published,
                drops={cause: self._drops[cause] for cause in CAUSES},
                time_jumps=self._time_jumps,
                input_rate=self._input.value(now),
                output_rate=self._output.value(now),
                inference=_quantiles(self._inference),
                age=_quantiles(self._ages),
                stamp_age=_quantiles(self._stamp_ages),
                lost=lost,
                sent=sent,
                stages=dict(self._stages),
            )


def _quantiles(values: deque[float]) -> tuple[float, float]:
    if not values:
        return float("nan"), float("nan")
    median, late = np.quantile(np.array(values), (0.5, 0.99))
    return float(median), float(late)
