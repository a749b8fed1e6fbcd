"""Rosbag2 recordings in and out, with the rosbags library and without ROS."""

from geoseg_ros.bags.reader import SUFFIXES, BagReader, is_bag
from geoseg_ros.bags.types import TopicInfo, build_message, stamp_fields, stamp_nanoseconds
from geoseg_ros.bags.writer import STORAGES, BagWriter

__all__ = [
    "STORAGES",
    "SUFFIXES",
    "BagReader",
    "BagWriter",
    "TopicInfo",
    "build_message",
    "is_bag",
    "stamp_fields",
    "stamp_nanoseconds",
]
