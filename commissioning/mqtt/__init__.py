"""What can be found out about an MQTT broker: topics, payloads, drafts of their mapping."""
