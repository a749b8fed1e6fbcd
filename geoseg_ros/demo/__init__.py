"""The demonstration: real nodes in separate processes over DDS, recorded, measured and reported."""
