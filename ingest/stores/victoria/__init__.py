"""The VictoriaMetrics store: InfluxDB's line protocol, to a server whose answer does not mean "durable"."""
