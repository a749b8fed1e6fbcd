"""The demonstration: real nodes in separate processes over DDS, their outputs recorded, measured and reported."""
