"""The InfluxDB store: line protocol through the v2 write endpoint, queries in InfluxQL."""
