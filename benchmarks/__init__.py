"""Benchmarks: each runs a part of the product and a baseline by turns, and reports the ratio."""
