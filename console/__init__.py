"""The operators' web page and the HTTP API behind it.

Start with :func:`console.server.serving`; what it needs from the application is in :mod:`console.ports`.
"""
