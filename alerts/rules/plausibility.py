"""R19: a plant reports what cannot be: more than it is built for, sun at night, power without wind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import asin, cos, degrees, pi, radians, sin

from alerts.alignment import SECOND, Snapshot, first_fault
from alerts.rule_config import PlausibilitySettings
from alerts.rules.finding import Finding, Grade, Subject, Texts, Timing, graded
from alerts.rules.window import Window

_DAY_S, _YEAR_D = 86400.0, 365.2425


@dataclass(frozen=True, slots=True)
class Plant:
    """A plant as it is measured."""

    power: int
    """Power point."""
    rated_mw: float
    available: int | None
    """Point of the power that wind or sun would allow; None where the controller does not say."""
    curtailed: int | None
    """Point that is not zero while the plant is held back; None where the controller does not say."""
    solar: bool
    latitude: float
    """[degrees north]."""
    longitude: float
    """[degrees east]."""


def elevation_deg(instant: int, latitude: float, longitude: float) -> float:
    """Elevation of the sun above the horizon [degrees], within 5 degrees: the equation of time is left out.

    The declination is that of Cooper (The absorption of radiation in solar stills, Solar Energy 12, 1969):
    23.45 sin(360 (284 + n) / 365) degrees on day n of the year.

    Parameters
    ----------
    instant
        [ns, UTC].
    latitude, longitude
        [degrees north], [degrees east].

    """
    days = instant / SECOND / _DAY_S
    declination = radians(23.45) * sin(2 * pi * (284 + days % _YEAR_D + 1) / 365)
    hour_angle = 2 * pi * (days % 1 - 0.5) + radians(longitude)
    north = radians(latitude)
    return degrees(asin(sin(north) * sin(declination) + cos(north) * cos(declination) * cos(hour_angle)))


class PlausibilityRule:
    """R19 on one plant: mean power over a window against its rating, the sun, and what is available.

    Less power than is available is only implausible where the controller says that nothing holds it back.
    """

    def __init__(self, subject: Subject, plant: Plant, settings: PlausibilitySettings) -> None:
        self.subject = subject
        further = (point for point in (plant.available, plant.curtailed) if point is not None)
        self.inputs: Sequence[int] = (plant.power, *further)
        self.timing = Timing((Grade(settings.priority, settings.on_s),), settings.off_s)
        self._plant = plant
        self._settings = settings
        self._power, self._available = Window(settings.mean_s), Window(settings.mean_s)
        self._held_at: int | None = None

    def evaluate(self, snapshot: Snapshot) -> Finding:
        """Judges the means of the window that ends at the instant; how far beyond a limit they are."""
        at, plant, settings = snapshot.instant, self._plant, self._settings
        power = snapshot.leg(plant.power)
        if fault := first_fault([(self.subject.asset, power)]):
            return self.subject.unknown(at, fault)
        self._power.add(at, power.value)
        self._follow(snapshot)
        if not self._power.full:
            return self.subject.early(at, f"the mean of {settings.mean_s:.0f} s has too few data yet")
        mean, rated = self._power.mean, plant.rated_mw
        found = [("more than it is built for", mean, settings.rated_pct / 100 * rated, rated)]
        if plant.solar and elevation_deg(at, plant.latitude, plant.longitude) < settings.night_deg:
            found.append(("although it is night", mean, settings.night_pct / 100 * rated, 0.0))
        elif self._available.full:
            expected = self._available.mean
            limit = max(settings.curve_pct / 100 * expected, settings.curve_rated_pct / 100 * rated)
            off = mean - expected
            if off > 0:
                found.append(("more than wind or sun allow", off, limit, expected))
            elif self._may_be_judged_low(at):
                found.append(("less than wind or sun allow, and not curtailed", -off, limit, expected))
        what, value, limit, expected = max(found, key=lambda entry: entry[1] / entry[2])
        return graded(
            self.subject,
            at,
            value,
            [limit],
            unit="MW",
            legs=[power],
            texts=lambda _: self._texts(what, mean, expected, limit),
            deadband=settings.deadband_pct / 100,
        )

    def _follow(self, snapshot: Snapshot) -> None:
        plant, at = self._plant, snapshot.instant
        available = snapshot.leg(plant.available) if plant.available is not None else None
        if available is not None and available.usable:
            self._available.add(at, available.value)
        else:
            self._available.clear()
        curtailed = snapshot.leg(plant.curtailed) if plant.curtailed is not None else None
        if curtailed is not None and (not curtailed.usable or curtailed.value != 0.0):
            self._held_at = at

    def _may_be_judged_low(self, at: int) -> bool:
        """The controller says whether it is held back, and it was not for the whole window."""
        if self._plant.curtailed is None:
            return False
        return self._held_at is None or at - self._held_at > self._settings.mean_s * SECOND

    def _texts(self, what: str, mean: float, expected: float, limit: float) -> Texts:
        plant, minutes = self.subject.asset, self._settings.mean_s / 60
        return Texts(
            f"{plant}: {mean:.1f} MW, {what}",
            f"Over {minutes:.0f} min {plant} reports {mean:.1f} MW where {max(expected, 0):.1f} MW can be: a "
            "wrong scale or sign, points that were mixed up, or a sensor that fails.",
            "Forecasts, reserves and every sum that this plant is part of are wrong by the difference.",
            f"1. Compare {plant} with the meter at its busbar and with its turbines or inverters. "
            "2. Check scale, sign and register of the point. 3. Have the sensor looked at.",
            {
                "Mean power [MW]": round(mean, 2),
                "Possible [MW]": round(expected, 2),
                "Limit of the difference [MW]": round(limit, 2),
                "Rating [MW]": round(self._plant.rated_mw, 1),
            },
        )
