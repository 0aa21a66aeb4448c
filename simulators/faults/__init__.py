"""Faults on purpose: on the truth, on meters and on the bytes of a link."""
