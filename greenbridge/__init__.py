"""The application: settings, wiring, demonstration and command line."""
