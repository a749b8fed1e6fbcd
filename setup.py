"""Package of geoseg_ros: the same file serves pip and colcon (ament_python)."""

from pathlib import Path

from setuptools import find_packages, setup

NAME = "geoseg_ros"
ROOT = Path(__file__).resolve().parent
NODES = ("perception_node", "segmentation_node", "depth_node", "motion_node", "bag_player")

RUNTIME = [
    "apsw>=3.40",
    "backports.zstd>=1; python_version < '3.14'",
    "lz4>=4",
    "numpy>=1.24",
    "opencv-python-headless>=4.6,<5",
    "pyyaml>=6",
    "rich>=13",
    "rosbags>=0.11",
    "safetensors>=0.4",
    "torch>=2.4",
]
EXTRAS = {
    "onnx": ["onnx>=1.16", "onnxruntime>=1.18", "onnxscript>=0.1"],
    # ROS 2 Kilted as wheels, for machines without a ROS install.
    "ros": [
        "ros-builtin-interfaces>=2.3,<3",
        "ros-diagnostic-msgs>=5.5,<6",
        "ros-geometry-msgs>=5.5,<6",
        "ros-kilted-rclpy[fastrtps]>=9.1,<10",
        "ros-lifecycle-msgs>=2.3,<3",
        "ros-nav-msgs>=5.5,<6",
        "ros-rcl-interfaces>=2.3,<3",
        "ros-rosgraph-msgs>=2.3,<3",
        "ros-sensor-msgs>=5.5,<6",
        "ros-std-msgs>=5.5,<6",
    ],
    "sim": ["embreex>=2.17; platform_machine != 'aarch64'"],
    "train": ["lightning-fabric>=2.2", "matplotlib>=3.7", "tensorboard>=2.14", "torchmetrics>=1.0"],
    "test": ["colcon-ros>=0.5", "hypothesis>=6.80", "pytest>=7.4,<9", "scipy>=1.9", "setuptools<80"],
}


def version() -> str:
    """The version as geoseg_ros/__init__.py states it."""
    for line in (ROOT / NAME / "__init__.py").read_text(encoding="utf-8").splitlines():
        if line.startswith("__version__"):
            return line.split('"')[1]
    raise RuntimeError(f"{NAME}/__init__.py states no __version__")


def share(folder: str) -> tuple:
    """The data_files entry that installs the files of one folder to share/geoseg_ros."""
    files = sorted(str(file.relative_to(ROOT)) for file in (ROOT / folder).iterdir() if file.is_file())
    return f"share/{NAME}/{folder}", files


setup(
    name=NAME,
    version=version(),
    description="Semantics, depth, flow, ego-motion and motion segmentation from one calibrated camera.",
    long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    maintainer="geoseg_ros maintainers",
    maintainer_email="geoseg_ros@users.noreply.github.com",
    python_requires=">=3.10",
    # geoseg_ros/training is a link to ../training, so its packages are found here like all others.
    packages=find_packages(include=[NAME, f"{NAME}.*"]),
    package_data={NAME: ["models/*.safetensors"], f"{NAME}.training": ["recipes/*.yaml"]},
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{NAME}"]),
        (f"share/{NAME}", ["package.xml"]),
        share("config"),
        share("launch"),
    ],
    install_requires=RUNTIME,
    extras_require=EXTRAS,
    entry_points={
        "console_scripts": ["geoseg = geoseg_ros.cli:main"]
        + [f"{node} = geoseg_ros.nodes.{node}:main" for node in NODES]
    },
    zip_safe=False,
)
