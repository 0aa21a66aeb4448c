"""Modbus TCP, reading only: function codes 3 and 4."""
