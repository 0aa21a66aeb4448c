"""JSON over MQTT 3.1.1, acknowledged only after the journal's commit."""
