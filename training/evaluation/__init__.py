"""What ``geoseg evaluate`` runs: a model file through the real pipeline, suite by suite."""
