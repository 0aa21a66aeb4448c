"""A serial line as a transport of the event loop; pyserial sets it up, the loop watches it."""

from __future__ import annotations

import asyncio
import os

import serial

from adapters.modbus.config import SerialSettings

_PARITIES = {"even": serial.PARITY_EVEN, "odd": serial.PARITY_ODD, "none": serial.PARITY_NONE}


class SerialTransport(asyncio.Transport):
    """An open line. Reads when the loop says that there is something; nothing blocks.

    Raises
    ------
    OSError
        The line cannot be opened or set up.

    """

    def __init__(self, settings: SerialSettings, protocol: asyncio.BufferedProtocol) -> None:
        super().__init__()
        self._loop = asyncio.get_running_loop()
        self._protocol = protocol
        self._line = serial.Serial(
            settings.device,
            settings.baudrate,
            parity=_PARITIES[settings.parity],
            stopbits=settings.stop_bits,
            timeout=0,
            write_timeout=0,
            exclusive=True,
        )
        self._file = self._line.fileno()
        self._open = True
        self._loop.add_reader(self._file, self._readable)
        protocol.connection_made(self)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Sends a frame; a line that does not take it at once is given up."""
        try:
            sent = self._line.write(bytes(data)) or 0
        except OSError as error:
            self._lost(error)
            return
        if sent < len(data):
            self._lost(OSError(f"the line took {sent} of {len(data)} bytes"))

    def is_closing(self) -> bool:
        """True once the line is given up."""
        return not self._open

    def close(self) -> None:
        """Closes the line."""
        self._lost(None)

    def abort(self) -> None:
        """Closes the line."""
        self._lost(None)

    def _readable(self) -> None:
        try:
            size = os.readv(self._file, [self._protocol.get_buffer(-1)])
        except BlockingIOError:
            return
        except OSError as error:
            self._lost(error)
            return
        if size:
            self._protocol.buffer_updated(size)
        else:
            self._lost(None)

    def _lost(self, error: OSError | None) -> None:
        if not self._open:
            return
        self._open = False
        self._loop.remove_reader(self._file)
        self._line.close()
        self._loop.call_soon(self._protocol.connection_lost, error)
