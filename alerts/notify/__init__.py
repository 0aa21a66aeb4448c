"""Telling people: a durable outbox and one module for each kind of channel."""
