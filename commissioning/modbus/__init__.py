"""Looks at devices on Modbus through the adapter's own codec, which can only read."""
