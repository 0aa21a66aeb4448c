"""The demonstration: a supervisor of a broker, the simulators and ``greenbridge run`` on loopback."""
