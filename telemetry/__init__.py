"""The vocabulary that every other package shares; parses text, reads no file, talks to nothing.

Import from the module that owns a name (``telemetry.batch``, ``telemetry.quality``, ...).
"""
