"""The synthetic worlds: ray-cast streets and rooms with exact depth, semantics, flow, motion and pose, all by
seed."""

from geoseg_ros.training.data.synthetic.config import (
    RoomConfig,
    StreetConfig,
    default_camera,
    random_config,
    random_room_config,
)
from geoseg_ros.training.data.synthetic.rooms.room import SyntheticRoom
from geoseg_ros.training.data.synthetic.streets.street import SyntheticStreet
from geoseg_ros.training.data.synthetic.world import SyntheticFrame

__all__ = [
    "RoomConfig",
    "StreetConfig",
    "SyntheticFrame",
    "SyntheticRoom",
    "SyntheticStreet",
    "default_camera",
    "random_config",
    "random_room_config",
]
