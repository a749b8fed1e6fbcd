"""The errors that geoseg_ros raises on purpose.

Each message names the thing, the value found and the value expected, in one sentence that a user can act on.
"""


class GeosegError(Exception):
    """Base of all errors raised on purpose; the command line prints its message without a stack trace."""


class CameraError(GeosegError):
    """A camera calibration is missing, inconsistent or outside what the camera models cover."""


class UncalibratedCameraError(CameraError):
    """A CameraInfo says that its camera is not calibrated (focal length 0 or NaN)."""


class ImageError(GeosegError):
    """An image message or array has a wrong size, encoding or amount of data."""


class BundleError(GeosegError):
    """A model file is missing, damaged, of another kind, or newer than this version reads."""


class BagError(GeosegError):
    """A rosbag2 recording is missing, damaged, or lacks a topic."""


class VideoError(GeosegError):
    """A video file or its intrinsics file is missing, damaged or inconsistent."""


class ConfigError(GeosegError):
    """A parameter, recipe or label file holds a value outside what is allowed."""


class ProcessError(GeosegError):
    """A process that a command started ended too early or was not ready in time."""


class TrainingError(GeosegError):
    """A training run cannot go on, such as when its loss stops being finite."""
