"""The one durable truth: checksummed batches in SQLite segments, cursors, the point registry."""
