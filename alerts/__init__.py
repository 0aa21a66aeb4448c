"""Rules, alarms and notifications: what is wrong, since when, why, and who was told."""
