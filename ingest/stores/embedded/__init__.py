"""The embedded store on DuckDB: nothing to install, one file, one process."""
