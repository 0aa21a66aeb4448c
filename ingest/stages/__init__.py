"""Pure stages between the journal and a store: columns in, columns and counts out, equal on replay."""
