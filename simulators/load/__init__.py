"""Load for benchmarks: a Modbus responder and an MQTT publisher that spend little on each message."""
