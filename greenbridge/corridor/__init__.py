"""The built-in site: the illustrative corridor."""
