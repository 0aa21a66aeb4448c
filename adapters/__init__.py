"""Field adapters: one folder per protocol, each with config, codec, plan, source, sample.toml and README.

Codecs and planners are pure; the source of each folder is the only file that talks. Import from the module
that owns a name; nothing is re-exported here, so that a codec can be used without a network library.
"""
