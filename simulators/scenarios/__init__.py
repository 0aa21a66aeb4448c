"""Scenarios as data: one TOML file each, read by :mod:`simulators.scenario`."""
