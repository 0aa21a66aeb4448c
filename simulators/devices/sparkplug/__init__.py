"""Sparkplug B 3.0 edge nodes: devices grouped behind one MQTT session with births, deaths and sequence."""
