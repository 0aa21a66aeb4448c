"""What changes from one configuration to another, and what each change touches; pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from greenbridge.settings import Configuration, SiteSettings
from greenbridge.stores import in_use
from telemetry.devices import Device
from telemetry.profiles import DeviceProfile
from telemetry.settings import Settings, shown

LINKS: Mapping[str, tuple[str, Callable[[SiteSettings], Sequence[Any]]]] = {
    "modbus": ("gateway", lambda settings: settings.modbus.gateway),
    "mqtt": ("broker", lambda settings: settings.mqtt.broker),
    "sparkplug": ("host", lambda settings: settings.sparkplug.host),
}
"""Of each protocol: what the far side of a link is called, and its tables; each has an ``id``."""

FIXED = ("state_dir", "journal", "dead_letters", "embedded", "console")
"""Settings that only a restart changes: files under the state directory, the address of the console."""

_PLAIN = ("name", "simulators_url", "logs")
_IDENTITY = ("id", "asset")


class Kind(StrEnum):
    """What happens to a thing."""

    ADDED = "added"
    REMOVED = "removed"
    CHANGED = "changed"


_SIGNS = {Kind.ADDED: "+", Kind.REMOVED: "-", Kind.CHANGED: "~"}


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that differs."""

    kind: Kind
    what: str
    """``device``, ``gateway``, ``rule``, ``store`` ..."""
    name: str
    details: tuple[str, ...] = ()
    """Of a changed thing, key by key: ``modbus.unit: 1 -> 2``; secrets are not shown."""

    def __str__(self) -> str:
        details = f" ({'; '.join(self.details)})" if self.details else ""
        return f"{_SIGNS[self.kind]} {self.what} {self.name}".rstrip() + details


@dataclass(frozen=True, slots=True)
class Links:
    """Connections to the field by what happens to them; the others are not touched."""

    started: frozenset[str] = frozenset()
    stopped: frozenset[str] = frozenset()
    restarted: frozenset[str] = frozenset()
    """Those with other settings of their own."""
    adjusted: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Those that run on, with the devices on each that come, go or are reached or understood otherwise."""


@dataclass(frozen=True, slots=True)
class Difference:
    """Everything that differs between a running configuration and a wanted one."""

    changes: tuple[Change, ...] = ()
    """What a reload applies."""
    needs_restart: tuple[Change, ...] = ()
    """What stays as it is until greenbridge is started again."""
    links: Links = Links()
    site: bool = False
    """Devices, profiles in use, grid or name differ: rules, pages and stores see another site."""
    rules: bool = False
    """Rules are to be built anew, with the site or with other thresholds."""
    notifications: bool = False
    stores: frozenset[str] = frozenset()
    """Further stores that are opened, closed or opened anew."""
    derived: bool = False
    """Formulas are to be read anew: they differ, or the points that they read may."""
    announcements: bool = False
    logs: bool = False

    @property
    def empty(self) -> bool:
        """Whether there is nothing to say."""
        return not self.changes and not self.needs_restart

    def text(self) -> str:
        """For people, a line each."""
        if self.empty:
            return "Nothing differs from the running configuration."
        lines = [str(change) for change in self.changes]
        for verb, links in (
            ("start", self.links.started),
            ("stop", self.links.stopped),
            ("restart", self.links.restarted),
        ):
            if links:
                lines.append(f"Links that {verb}: {', '.join(sorted(links))}")
        for link, devices in sorted(self.links.adjusted.items()):
            names = ", ".join(sorted(devices))
            lines.append(f"{link} runs on; of its devices only these are touched: {names}")
        lines += [f"{change}: needs a restart" for change in self.needs_restart]
        return "\n".join(lines)

    def document(self) -> dict[str, Any]:
        """For machines."""

        def rows(changes: Iterable[Change]) -> list[dict[str, Any]]:
            return [
                {"kind": c.kind.value, "what": c.what, "name": c.name, "details": list(c.details)}
                for c in changes
            ]

        return {
            "changes": rows(self.changes),
            "needs_restart": rows(self.needs_restart),
            "links": {
                "started": sorted(self.links.started),
                "stopped": sorted(self.links.stopped),
                "restarted": sorted(self.links.restarted),
                "adjusted": {link: sorted(names) for link, names in sorted(self.links.adjusted.items())},
            },
        }


def applicable(running: Configuration, wanted: Configuration) -> Configuration:
    """The wanted configuration as far as a running process can follow it: what is fixed stays."""
    fixed = {key: getattr(running.settings, key) for key in FIXED}
    return replace(wanted, settings=wanted.settings.model_copy(update=fixed))


def difference(running: Configuration, wanted: Configuration) -> Difference:
    """Compares two sound configurations."""
    before, after = running.settings, wanted.settings
    old, new = _profiles_in_use(running), _profiles_in_use(wanted)
    devices = [*_compared("device", running.devices, wanted.devices)]
    profiles = [*_compared("profile", old.values(), new.values())]
    grid = [*_compared("grid", [running.grid], [wanted.grid])]
    plain = {key: [*_compared(key, [getattr(before, key)], [getattr(after, key)])] for key in _PLAIN}
    rules = [*_rules(before, after)]
    notifications = [*_compared("webhook", before.alerts.webhook, after.alerts.webhook)]
    notifications += _compared("alertmanager", before.alerts.alertmanager, after.alerts.alertmanager)
    notifications += _settings("alerts", before.alerts, after.alerts, _NOTIFYING)
    stores = [*_named_tables("store", in_use(before), in_use(after))]
    derived = [*_compared("derived", before.derived, after.derived)]
    site = bool(devices or profiles or grid or plain["name"])
    return Difference(
        changes=(
            *devices,
            *profiles,
            *_far_sides(before, after),
            *grid,
            *derived,
            *rules,
            *notifications,
            *stores,
            *(change for key in _PLAIN for change in plain[key]),
        ),
        needs_restart=tuple(
            change
            for key in FIXED
            for change in _compared("setting", [getattr(before, key)], [getattr(after, key)], key)
        ),
        links=_links(running, wanted),
        site=site,
        rules=site or bool(rules),
        notifications=bool(notifications or plain["name"]),
        stores=frozenset(change.name for change in stores)
        | (frozenset(in_use(after)) if site else frozenset()),
        derived=site or bool(derived),
        announcements=bool(plain["simulators_url"]),
        logs=bool(plain["logs"]),
    )


_NOTIFYING = ("notify_on", "max_pending_notifications", "give_up_after_s", "notify")


def _rules(before: SiteSettings, after: SiteSettings) -> Iterator[Change]:
    tables = after.alerts.rules()
    for rule, table in before.alerts.rules().items():
        yield from _compared("rule", [table], [tables[rule]], rule)
    yield from _settings(
        "alerts",
        before.alerts,
        after.alerts,
        ("watermark_s", "desk", "outage", "relation", "rule", "settlement"),
    )


def _settings(what: str, before: Settings, after: Settings, keys: Iterable[str]) -> Iterator[Change]:
    for key in keys:
        yield from _compared(what, [getattr(before, key)], [getattr(after, key)], key)


def _far_sides(before: SiteSettings, after: SiteSettings) -> Iterator[Change]:
    for what, tables in LINKS.values():
        yield from _compared(what, tables(before), tables(after))


def _links(running: Configuration, wanted: Configuration) -> Links:
    old, new = _ways(running), _ways(wanted)
    restarted: set[str] = set()
    adjusted: dict[str, frozenset[str]] = {}
    for link in old.keys() & new.keys():
        (table, devices), (other_table, other_devices) = old[link], new[link]
        touched = frozenset(
            name
            for name in devices.keys() | other_devices.keys()
            if devices.get(name) != other_devices.get(name)
        )
        if table != other_table:
            restarted.add(link)
        elif touched:
            adjusted[link] = touched
    return Links(
        frozenset(new.keys() - old.keys()), frozenset(old.keys() - new.keys()), frozenset(restarted), adjusted
    )


def _ways(configuration: Configuration) -> dict[str, tuple[Any, dict[str, Any]]]:
    """Of each link in use: its settings, and how each of its devices is reached and understood."""
    tables = {
        f"{protocol}/{table.id}": table
        for protocol, (_, of) in LINKS.items()
        for table in of(configuration.settings)
    }
    # a Sparkplug host runs without devices too
    ways: dict[str, tuple[Any, dict[str, Any]]] = {
        link: (table, {}) for link, table in tables.items() if link.startswith("sparkplug/")
    }
    for device in configuration.devices:
        if device.enabled and device.link in tables:
            _, devices = ways.setdefault(device.link, (tables[device.link], {}))
            address = (device.modbus, device.mqtt, device.sparkplug)
            devices[device.id] = (address, configuration.profiles[device.profile])
    return ways


def _profiles_in_use(configuration: Configuration) -> dict[str, DeviceProfile]:
    names = {device.profile for device in configuration.devices}
    return {name: configuration.profiles[name] for name in sorted(names)}


def _compared(what: str, before: Iterable[Any], after: Iterable[Any], name: str = "") -> Iterator[Change]:
    """Things of one sort, told apart by their ids."""
    old = {_id(thing) or name: thing for thing in before}
    new = {_id(thing) or name: thing for thing in after}
    for key in [*old, *(key for key in new if key not in old)]:
        if key not in new:
            yield Change(Kind.REMOVED, what, key)
        elif key not in old:
            yield Change(Kind.ADDED, what, key, _introduced(new[key]))
        elif old[key] != new[key]:
            yield Change(Kind.CHANGED, what, key, tuple(_details("", _plain(old[key]), _plain(new[key]))))


def _named_tables(
    what: str, before: Mapping[str, Settings], after: Mapping[str, Settings]
) -> Iterator[Change]:
    for name in dict.fromkeys([*before, *after]):
        old, new = ([tables[name]] if name in tables else [] for tables in (before, after))
        yield from _compared(what, old, new, name)


def _introduced(thing: Any) -> tuple[str, ...]:
    return (f"{thing.profile} at {thing.node}, {thing.link}",) if isinstance(thing, Device) else ()


def _id(thing: Any) -> str:
    return str(getattr(thing, "id", ""))


def _plain(thing: Any) -> Any:
    if isinstance(thing, tuple):
        return [_plain(part) for part in thing]
    return thing.model_dump(mode="json", by_alias=True) if isinstance(thing, Settings) else thing


def _details(key: str, old: Any, new: Any) -> Iterator[str]:
    """The leaves that differ, as ``key: old -> new``; tables in a list are told apart by their ids."""
    old, new = _named(old), _named(new)
    if isinstance(old, dict) and isinstance(new, dict):
        for name in [*old, *(name for name in new if name not in old)]:
            below = f"{key}.{name}" if key else str(name)
            yield from _details(below, old.get(name), new.get(name))
    elif old != new:
        yield (
            f"{key}: {shown(key, old)} -> {shown(key, new)}"
            if key
            else f"{shown('', old)} -> {shown('', new)}"
        )


def _named(value: Any) -> Any:
    if not (isinstance(value, list) and value and all(isinstance(row, dict) for row in value)):
        return value
    for identity in _IDENTITY:
        names = [row.get(identity) for row in value]
        if None not in names and len(set(names)) == len(names):
            return {f"[{name}]": row for name, row in zip(names, value, strict=True)}
    return {f"[{i}]": row for i, row in enumerate(value)}
