"""What a child process tells the one that started it: single lines of JSON on standard output."""

from __future__ import annotations

import json
from typing import Any

_PREFIX = "geoseg-event "


def report_event(name: str, **values: Any) -> None:
    """Print an event line for the parent process."""
    print(_PREFIX + json.dumps({"event": name, **values}), flush=True)


def parse_event(line: str) -> dict[str, Any] | None:
    """The event in a line of output, its name under ``event``; None for any other line."""
    if not line.startswith(_PREFIX):
        return None
    try:
        event = json.loads(line[len(_PREFIX) :])
    except json.JSONDecodeError:
        return None
    return event if isinstance(event, dict) and isinstance(event.get("event"), str) else None
