"""What a metric says when it is given something that it cannot judge."""

from geoseg_ros.errors import GeosegError


class MetricError(GeosegError, ValueError):
    """Prediction and truth do not fit together, or there was nothing to judge."""
