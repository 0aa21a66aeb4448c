"""From a batch in hand to a durable, queryable reading: journal, stages, stores, supervision."""
