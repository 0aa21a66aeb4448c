"""One probe of a Modbus device: does what was wished for, each step with what those before it found."""

from __future__ import annotations

from adapters.modbus.config import GatewaySettings
from adapters.modbus.connection import Opener
from adapters.modbus.identification import OBJECT_NAMES
from commissioning.modbus.drafting import MOST_POINTS, drafted, register_profile
from commissioning.modbus.prober import Prober
from commissioning.modbus.reading import Reading, read_spans
from commissioning.modbus.recording import Recorder
from commissioning.modbus.registers import RegisterScan
from commissioning.modbus.target import Span
from commissioning.modbus.units import UnitScan
from commissioning.modbus.wish import Manners, Wish
from commissioning.report import Report
from telemetry.clock import Clock


class Session:
    """A probe under way. What is found goes into ``report`` at once, for a probe that is ended early.

    Parameters
    ----------
    gateway
        How the device is reached.
    wish
        What is to be found out.
    clock
        Time.
    manners
        How politely.
    connect
        Connects in place of the transport that the settings name.

    """

    def __init__(
        self,
        gateway: GatewaySettings,
        wish: Wish,
        clock: Clock,
        manners: Manners = Manners(),  # noqa: B008 - frozen
        connect: Opener | None = None,
    ) -> None:
        self.report = Report(
            f"{gateway.where}, unit {wish.unit}" if wish.scan_units is None else gateway.where
        )
        self.recorder = Recorder()
        self._wish = wish
        self._gateway = gateway
        self._prober = Prober(gateway, clock, manners, connect)
        self._prober.listeners.append(self.recorder.note)

    async def run(self) -> Report:
        """Does it.

        Raises
        ------
        ProbeError
            The device cannot be reached, or does not answer.

        """
        try:
            async with self._prober:
                await self._steps()
        finally:
            self.report.traffic = self._prober.round_trips
        return self.report

    async def _steps(self) -> None:
        wish = self._wish
        if wish.scan_units is not None:
            await self._scan_units(wish.scan_units)
            return
        await self._identify()
        if wish.scan_registers is not None:
            await self._scan_registers(wish.scan_registers)
        if wish.reads:
            await self._read()

    async def _identify(self) -> None:
        objects = await self._prober.identify(self._wish.unit)
        self.recorder.identified(self._wish.unit, objects)
        self.report.identification = {
            OBJECT_NAMES.get(number, f"object_{number}"): text for number, text in objects.items()
        }

    async def _scan_units(self, units: range) -> None:
        scan = UnitScan(units, self._wish.table, self._wish.reads[0].start if self._wish.reads else 0)
        self.report.sections["units"] = scan
        await self._prober.walk(scan.walk(), patient=True)
        for found in scan.found:
            found.identification = await self._prober.identify(found.unit)
            self.recorder.identified(found.unit, found.identification)
        if scan.found:
            profile = register_profile(scan.table, [scan.address], f"Scan of units of {self._gateway.where}")
            note = "CHANGE: every device uses the profile of one register that was asked for in the scan"
            units_found = [found.unit for found in scan.found]
            self.report.draft = drafted(profile, self._gateway, units_found, [note])

    async def _scan_registers(self, within: Span) -> None:
        wish = self._wish
        scan = RegisterScan(wish.unit, wish.table, within, wish.most, wish.max_requests)
        self.report.sections["registers"] = scan
        await self._prober.walk(scan.walk())
        addresses = [address for span in scan.found for address in range(span.start, span.end)]
        self._draft_registers(addresses, f"Scan of registers of {self.report.target}")

    async def _read(self) -> None:
        wish = self._wish
        reading: Reading = await self._prober.walk(read_spans(wish.unit, wish.table, wish.reads, wish.most))
        self.report.sections["read"] = reading
        self._draft_registers(sorted(reading.words), f"Registers read of {self.report.target}")

    def _draft_registers(self, addresses: list[int], source: str) -> None:
        if not addresses:
            return
        profile = register_profile(self._wish.table, addresses, source, max_registers=self._wish.most)
        notes = ["CHANGE: each point is a raw register; give types, names, units and ranges"]
        if len(addresses) > MOST_POINTS:
            notes.append(f"Only the first {MOST_POINTS} of {len(addresses)} registers are listed")
        self.report.draft = drafted(profile, self._gateway, [self._wish.unit], notes)
