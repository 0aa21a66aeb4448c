"""Plays scenarios through the real pipeline, in virtual time, and judges the alarms."""
