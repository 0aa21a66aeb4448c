"""SunSpec devices: information models, discovery of a device's chain of models, points by name; pure."""
