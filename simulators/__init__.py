"""The bench: a simulated corridor whose meters and plants speak the protocols of real hardware."""
