"""Rates, ages and losses of a recorded run, from arrival times and the node's diagnostics."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from geoseg_ros.arrivals import Arrivals, ages
from geoseg_ros.messages import OUTPUTS

RATE_WINDOW_S = 1.0


@dataclass(frozen=True)
class TopicStatistics:
    """One topic: messages, messages per second, megabytes per second, age in seconds (NaN without one)."""

    topic: str
    messages: int
    rate: float
    bandwidth: float
    age_p50: float
    age_p99: float


@dataclass(frozen=True)
class Measurement:
    """How a run went.

    The age of a frame is the time from the publication of its image to the reception of its last output.
    ``frame_stamps`` (ns) and ``frame_times`` (seconds since the first image) belong to ``frame_ages`` (s).
    ``drops`` counts images by cause.
    """

    topics: tuple[TopicStatistics, ...]
    published: int
    answered: int
    input_rate: float
    output_rate: float
    age_p50: float
    age_p99: float
    frame_stamps: np.ndarray
    frame_times: np.ndarray
    frame_ages: np.ndarray
    input_rates: tuple[np.ndarray, np.ndarray]
    output_rates: tuple[np.ndarray, np.ndarray]
    drops: Mapping[str, int]
    diagnostics: Mapping[str, str]


def measure(
    arrivals: Mapping[str, Arrivals],
    image_topic: str,
    prefix: str,
    diagnostics: Mapping[str, str] | None = None,
    published: int | None = None,
) -> Measurement:
    """Statistics of the run whose images came on ``image_topic`` and whose outputs lie below ``prefix``.

    ``published``: how many images were published where that is known, else those that arrived count.
    """
    images = arrivals.get(image_topic, _EMPTY)
    outputs = {topic: one for topic, one in arrivals.items() if topic.startswith(prefix + "/")}
    last = _last_of_each_frame(one for topic, one in outputs.items() if topic[len(prefix) + 1 :] in OUTPUTS)
    stamps, frame_ages = ages(last, images)
    moments = dict(zip(images.stamp.tolist(), images.published.tolist(), strict=True))
    start = int(images.published[0]) if len(images) else 0
    times = np.array([(moments[stamp] - start) * 1e-9 for stamp in stamps.tolist()])
    diagnostics = dict(diagnostics or {})
    rows = [_topic(topic, one, images) for topic, one in sorted(outputs.items())]
    return Measurement(
        topics=tuple(rows),
        published=len(images) if published is None else published,
        answered=len(last),
        input_rate=images.rate(),
        output_rate=last.rate(),
        age_p50=_quantile(frame_ages, 0.5),
        age_p99=_quantile(frame_ages, 0.99),
        frame_stamps=stamps,
        frame_times=times,
        frame_ages=frame_ages,
        input_rates=_rate_over_time(images.published, start),
        output_rates=_rate_over_time(last.received, start),
        drops=drops(diagnostics),
        diagnostics=diagnostics,
    )


def diagnostic_values(messages: Iterable[Any], name: str) -> dict[str, str]:
    """The latest key → value of the status whose name contains ``name``; its message is under "status"."""
    values: dict[str, str] = {}
    for message in messages:
        for status in message.status:
            if name in status.name:
                values = {"status": status.message, **{item.key: item.value for item in status.values}}
    return values


def drops(diagnostics: Mapping[str, str]) -> dict[str, int]:
    """Dropped images by cause, from diagnostics whose keys are "dropped: <cause>"."""
    found = {}
    for key, value in diagnostics.items():
        head, _, cause = key.partition(": ")
        if head == "dropped" and value.isdecimal():
            found[cause] = int(value)
    return found


_EMPTY = Arrivals(*(np.empty(0, np.int64) for _ in range(4)))


def _topic(topic: str, one: Arrivals, images: Arrivals) -> TopicStatistics:
    _, values = ages(one, images)
    seconds = (one.received[-1] - one.received[0]) * 1e-9 if len(one) > 1 else 0.0
    bandwidth = float(one.bytes[1:].sum() / seconds * 1e-6) if seconds > 0 else math.nan
    return TopicStatistics(
        topic, len(one), one.rate(), bandwidth, _quantile(values, 0.5), _quantile(values, 0.99)
    )


def _last_of_each_frame(outputs: Iterable[Arrivals]) -> Arrivals:
    """For each stamp that has outputs, the reception of the last one, in order of reception."""
    received: dict[int, int] = {}
    for one in outputs:
        for stamp, time in zip(one.stamp.tolist(), one.received.tolist(), strict=True):
            received[stamp] = max(time, received.get(stamp, 0))
    stamps = sorted(received, key=received.__getitem__)
    times = np.array([received[stamp] for stamp in stamps], np.int64)
    return Arrivals(np.array(stamps, np.int64), times, times, np.zeros(len(stamps), np.int64))


def _rate_over_time(times: np.ndarray, start: int) -> tuple[np.ndarray, np.ndarray]:
    """(seconds since start, 1 / mean interval in the window there; 0 below two events) per half window."""
    if len(times) < 2:
        return np.empty(0), np.empty(0)
    seconds = np.sort(times - start) * 1e-9
    centres = np.arange(
        seconds[0] + RATE_WINDOW_S / 2, seconds[-1] - RATE_WINDOW_S / 2 + 1e-9, RATE_WINDOW_S / 2
    )
    first = np.searchsorted(seconds, centres - RATE_WINDOW_S / 2)
    last = np.searchsorted(seconds, centres + RATE_WINDOW_S / 2, side="right") - 1
    spans = seconds[last] - seconds[first]
    return centres, np.divide(last - first, spans, out=np.zeros(len(centres)), where=spans > 0)


def _quantile(values: np.ndarray, share: float) -> float:
    return float(np.quantile(values, share)) if len(values) else math.nan
