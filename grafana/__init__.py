"""Grafana dashboards as code; the JSON that Grafana loads is generated from here and committed beside it."""
