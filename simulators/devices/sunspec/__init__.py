"""SunSpec devices: chains of information models in registers, with the standard's point tables as data."""
