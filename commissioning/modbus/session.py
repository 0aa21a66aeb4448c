"""One probe of a Modbus device: does what was wished for, each step with what those before it found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from adapters.modbus.config import GatewaySettings
from adapters.modbus.connection import Opener
from adapters.modbus.identification import OBJECT_NAMES
from adapters.modbus.sunspec.chain import NotSunSpecError
from commissioning.modbus.drafting import MOST_POINTS, drafted, mapped_profile, register_profile
from commissioning.modbus.guessing import BEHIND, Guesses, guesses
from commissioning.modbus.prober import Prober
from commissioning.modbus.reading import Reading, read_spans
from commissioning.modbus.recording import Recorder
from commissioning.modbus.registers import RegisterScan
from commissioning.modbus.sheet import Sheet, check_sheet
from commissioning.modbus.sheet_page import sheet_page
from commissioning.modbus.sunspec import sunspec_profile, sunspec_walk
from commissioning.modbus.target import Span
from commissioning.modbus.tuning import Tuning, tune, widest
from commissioning.modbus.units import UnitScan
from commissioning.modbus.walk import Noted
from commissioning.modbus.wish import Manners, Wish
from commissioning.report import Report
from telemetry.clock import Clock
from telemetry.errors import UnavailableError
from telemetry.profiles import DeviceProfile, ModbusMap

_WINDOW = 2 * BEHIND
"""Addresses around a value to be guessed: a search among so few takes at most twice as many requests."""


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
        one = "" if wish.scan_units is not None else f", unit {wish.unit}"
        self.report = Report(gateway.where + one)
        self.recorder = Recorder()
        self.sheet: Sheet | None = None
        self._wish = wish
        self._gateway = gateway
        self._clock = clock
        self._begun_ns = clock.now_ns()
        self._prober = Prober(gateway, clock, manners, connect)
        self._found: list[Span] = []
        self._tuning: Tuning | None = None
        self.listen(self.recorder.note)

    def listen(self, listener: Noted) -> None:
        """Tells a listener of every question and its answer."""
        self._prober.listeners.append(listener)

    async def run(self) -> None:
        """Does it.

        Raises
        ------
        ProbeError
            The device cannot be reached, or does not answer.
        UnavailableError
            It answers, but does not have what is asked for.

        """
        try:
            async with self._prober:
                await self._steps()
                if self._wish.scan_units is None:
                    self._prober.require_answers()
        finally:
            self.report.traffic = self._prober.round_trips

    def page(self) -> str:
        """The check sheet as a page; empty without one."""
        if self.sheet is None:
            return ""
        when = datetime.fromtimestamp(self._begun_ns // 1_000_000_000, UTC)
        facts = {
            "Device": self._gateway.where,
            "Unit": str(self._wish.unit),
            "Profile": self.sheet.profile.id,
            "Read at": f"{when:%Y-%m-%d %H:%M:%S} UTC",
            **{
                name.replace("_", " ").capitalize(): told for name, told in self.report.identification.items()
            },
        }
        return sheet_page(self.sheet, facts)

    async def _steps(self) -> None:
        wish = self._wish
        if wish.scan_units is not None:
            await self._scan_units(wish.scan_units)
            return
        await self._identify()
        if wish.sunspec:
            await self._sunspec()
        if wish.scan_registers is not None:
            await self._scan_registers(wish.scan_registers)
        if wish.reads:
            await self._read()
        if wish.tune:
            await self._tune()
        if wish.guess is not None:
            await self._guess(wish.guess)
        if wish.profile is not None:
            await self._check(wish.profile)

    async def _identify(self) -> None:
        objects = await self._prober.identify(self._wish.unit)
        self.recorder.identified(self._wish.unit, objects)
        self.report.identification = {
            OBJECT_NAMES.get(number, f"object_{number}"): text for number, text in objects.items()
        }

    async def _scan_units(self, units: range) -> None:
        wish = self._wish
        scan = UnitScan(units, wish.table, wish.reads[0].start if wish.reads else 0)
        self.report.sections["units"] = scan
        await self._prober.walk(scan.walk(), patient=True)
        for found in scan.found:
            found.identification = await self._prober.identify(found.unit)
            self.recorder.identified(found.unit, found.identification)
        if scan.found:
            profile = register_profile(scan.table, [scan.address], f"Scan of units of {self._gateway.where}")
            note = "CHANGE: every device uses the profile of the one register that the scan asked for"
            self._draft(profile, [note], [found.unit for found in scan.found])

    async def _scan_registers(self, within: Span) -> None:
        wish = self._wish
        scan = RegisterScan(wish.unit, wish.table, within, wish.most, wish.max_requests)
        self.report.sections["registers"] = scan
        await self._prober.walk(scan.walk())
        self._found += scan.found
        addresses = [address for span in scan.found for address in range(span.start, span.end)]
        self._draft_registers(addresses, "Scan of registers")

    async def _read(self) -> None:
        wish = self._wish
        for _ in range(wish.repeat):
            walk = read_spans(wish.unit, wish.table, wish.reads, wish.most)
            reading: Reading = await self._prober.walk(walk)
            self.report.sections["read"] = reading
        self._found += [part.span for part in reading.parts if part.reply.ok]
        self._draft_registers(sorted(reading.words), "Registers read")

    async def _tune(self) -> None:
        wish = self._wish
        span = widest([*self._found, *wish.reads])
        if span is None:
            raise UnavailableError("no range was found that reads could be measured in; give one with --read")
        self._tuning = await self._prober.walk(tune(wish.unit, wish.table, span, wish.most))
        self.report.sections["tuning"] = self._tuning
        if self.report.draft is not None:
            self._draft(self.report.draft.profile, self.report.draft.notes)

    async def _guess(self, address: int) -> None:
        wish = self._wish
        start = max(0, address - 1)
        within = Span(start, min(0x10000, address + BEHIND + 1) - start)
        scan = RegisterScan(wish.unit, wish.table, within, min(wish.most, within.count), 2 * _WINDOW)
        await self._prober.walk(scan.walk())
        samples: list[Mapping[int, int]] = []
        for n in range(wish.samples if scan.found else 0):
            if n:
                await self._clock.sleep(wish.sample_pause_s)
            walk = read_spans(wish.unit, wish.table, scan.found, wish.most)
            samples.append((await self._prober.walk(walk)).words)
        ranked: Guesses = guesses(address, samples, wish.expected, wish.tolerance)
        self.report.sections["guess"] = ranked
        if ranked.ranked:
            best = ranked.ranked[0]
            profile = mapped_profile(
                {f"Value{best.address}": best.mapping()},
                f"Guess for address {address} of {self.report.target}",
                ModbusMap(table=wish.table, max_registers=wish.most, registers={}),
            )
            self._draft(profile, ["CHANGE: name, unit and range of the point; compare it with the display"])

    async def _check(self, profile: DeviceProfile) -> None:
        self.sheet = await self._prober.walk(check_sheet(profile, self._wish.unit))
        self.report.sections["sheet"] = self.sheet
        trimmed = self.sheet.trimmed()
        if trimmed is not None:
            left_out = len(profile.points) - len(trimmed.points)
            notes = [f"Points of {profile.id} that the device does not have are left out: {left_out}"]
            self._draft(trimmed, notes)

    async def _sunspec(self) -> None:
        wish = self._wish
        try:
            device = await self._prober.walk(sunspec_walk(wish.unit, wish.most, wish.sunspec))
        except NotSunSpecError as error:
            raise UnavailableError(f"unit {wish.unit}: {error}; --scan-units finds other units") from error
        self.report.sections["sunspec"] = device
        made = sunspec_profile(device, wish.most, f"SunSpec models that {self.report.target} shows")
        if made is not None:
            profile, left_out = made
            notes = ["CHANGE: keep the points that you need"]
            notes.append(
                f"Settings, texts and units that readings do not have are left out: {left_out} points"
            )
            self._draft(profile, notes)

    def _draft_registers(self, addresses: list[int], source: str) -> None:
        if not addresses:
            return
        source = f"{source} of {self.report.target}"
        profile = register_profile(self._wish.table, addresses, source, max_registers=self._wish.most)
        notes = ["CHANGE: each point is a raw register; give types, names, units and ranges"]
        if len(addresses) > MOST_POINTS:
            notes.append(f"Only the first {MOST_POINTS} of {len(addresses)} registers are listed")
        self._draft(profile, notes)

    def _draft(
        self, profile: DeviceProfile, notes: Sequence[str], units: Sequence[int] | None = None
    ) -> None:
        self.report.draft = drafted(
            profile, self._gateway, [self._wish.unit] if units is None else units, notes, self._tuning
        )
