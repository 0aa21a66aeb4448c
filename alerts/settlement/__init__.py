"""The settlement ledger: what was agreed, metered, lost and carried in each interval; pure."""
