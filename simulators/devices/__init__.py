"""Wire servers: what the simulated meters and plants look like to a client.

Register maps and payloads are written here from the vendors' facts, independently of any other package, so
that an error in a map on one side cannot cancel itself out on the other.
"""
