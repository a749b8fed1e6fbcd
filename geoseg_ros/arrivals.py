"""When messages were published and received: written while recording, read to compute rates and ages.

The file is CSV with the columns of :data:`COLUMNS`: topic; header stamp in ns (empty where the message has no
header); publication and reception time in ns of the system clock, taken by the middleware; size in bytes.
"""

from __future__ import annotations

import csv
import struct
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from geoseg_ros.errors import BagError

COLUMNS = ("topic", "stamp", "published", "received", "bytes")
NO_STAMP = -1


@dataclass(frozen=True)
class Arrivals:
    """The messages of one topic as received: int64 arrays, times in ns, stamp -1 without a header."""

    stamp: np.ndarray
    published: np.ndarray
    received: np.ndarray
    bytes: np.ndarray

    def __len__(self) -> int:
        return len(self.stamp)

    def rate(self) -> float:
        """Messages per second between the first and the last, NaN below two messages."""
        if len(self) < 2 or self.received[-1] <= self.received[0]:
            return float("nan")
        return float((len(self) - 1) / ((self.received[-1] - self.received[0]) * 1e-9))


class ArrivalWriter:
    """Writes the file line by line; complete lines survive a crash up to the last :meth:`flush`."""

    def __init__(self, path: str | Path):
        self._file = open(path, "w", encoding="utf-8", buffering=1 << 16)
        self._file.write(",".join(COLUMNS) + "\n")

    def write(self, topic: str, stamp: int, published: int, received: int, size: int) -> None:
        """Note one message; times in ns."""
        self._file.write(f"{topic},{'' if stamp == NO_STAMP else stamp},{published},{received},{size}\n")

    def flush(self) -> None:
        """Hand what was written to the operating system."""
        self._file.flush()

    def close(self) -> None:
        """Finish the file."""
        self._file.close()


def read_arrivals(path: str | Path) -> dict[str, Arrivals]:
    """Arrivals by topic. Raises :class:`BagError` for a missing or malformed file."""
    rows: dict[str, list[tuple[int, ...]]] = defaultdict(list)
    try:
        with open(path, encoding="utf-8", newline="") as file:
            reader = csv.reader(file)
            header = tuple(next(reader, ()))
            if header != COLUMNS:
                raise BagError(f"{path} has the columns {','.join(header)}, expected {','.join(COLUMNS)}")
            for row in reader:
                topic, stamp, *times = row
                rows[topic].append((int(stamp) if stamp else NO_STAMP, *map(int, times)))
                if len(row) != len(COLUMNS):
                    raise ValueError
    except OSError as error:
        raise BagError(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        raise BagError(
            f"{path}: line {reader.line_num} is malformed, expected {','.join(COLUMNS)}"
        ) from error
    return {topic: Arrivals(*np.array(values, np.int64).T) for topic, values in rows.items()}


def ages(output: Arrivals, source: Arrivals) -> tuple[np.ndarray, np.ndarray]:
    """Age of each output in seconds: its reception minus the publication of the input of the same stamp.

    Returns (stamps int64 ns, ages float64 s) of those outputs whose stamp the input has; of equal input
    stamps (a bag that loops) the latest publication before the output counts.
    """
    published: dict[int, list[int]] = defaultdict(list)
    for stamp, time in zip(source.stamp.tolist(), source.published.tolist(), strict=True):
        published[stamp].append(time)
    stamps, values = [], []
    for stamp, received in zip(output.stamp.tolist(), output.received.tolist(), strict=True):
        before = [time for time in published.get(stamp, ()) if time <= received]
        if before and stamp != NO_STAMP:
            stamps.append(stamp)
            values.append((received - max(before)) * 1e-9)
    return np.array(stamps, np.int64), np.array(values, np.float64)


def stamp_of_serialised(data: bytes) -> int:
    """Header stamp in ns of a CDR message whose first field is a header (plain CDR, either byte order)."""
    order = "<" if data[1] & 1 else ">"
    seconds, nanoseconds = struct.unpack_from(order + "iI", data, 4)
    return seconds * 1_000_000_000 + nanoseconds
