"""Pure physics: the true state of the corridor, second by second, and the meters that observe it.

Nothing here knows of protocols, sockets or clocks; the caller steps the world and passes the time.
"""
