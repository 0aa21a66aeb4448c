"""One connection to a gateway, for others than the polling source that have questions of their own."""

from adapters.modbus._connection import ConnectionLostError, Link, Opener, ReplyTimeoutError, opener

__all__ = ["ConnectionLostError", "Link", "Opener", "ReplyTimeoutError", "opener"]
