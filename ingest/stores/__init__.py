"""Stores: where readings and events end up to be queried; each a consumer of the journal at its own pace."""
