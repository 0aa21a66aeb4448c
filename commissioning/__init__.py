"""Commissioning: looks at devices before they are configured, and drafts the configuration.

One folder for each way of speaking to devices (``modbus/``), beside what they share: tables for people,
drafts of profiles and sites for ``greenbridge check``. ``greenbridge probe`` is the command line in front.
"""
