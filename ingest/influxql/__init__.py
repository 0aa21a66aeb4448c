"""The part of InfluxQL that dashboards ask in, answered from any store through the query port.

Strict: what is not among these shapes is refused by name, and never answered nearly. Reference: InfluxDB 1.8
documentation, "InfluxQL reference" and "Explore data using InfluxQL".
"""
