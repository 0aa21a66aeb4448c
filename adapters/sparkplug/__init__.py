"""A Sparkplug B 3.0 host application: births as the directory, ordered data, deaths as stale quality."""
