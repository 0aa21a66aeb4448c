from __future__ import annotations

import msgspec
import pytest

from simulators.world.corridor import Corridor, parse
from telemetry.errors import ConfigError


def text_with(corridor: Corridor, **changes: object) -> bytes:
    return msgspec.json.encode(msgspec.structs.replace(corridor, **changes))


def test_the_reference_has_seventeen_nodes_and_as_many_lines(corridor: Corridor) -> None:
    assert len(corridor.nodes) == 17
    assert len(corridor.lines) == 17
    assert sum(reactor.units for reactor in corridor.reactors) == 51
    assert {bus.area for bus in corridor.nodes} == {"KZ", "UZ", "AZ"}


def test_hvdc_loses_what_converters_and_cable_take(corridor: Corridor) -> None:
    assert corridor.hvdc.id == "AKT-ALT"
    assert corridor.hvdc.received_mw(800) == pytest.approx(781.3, abs=0.05)
    assert corridor.hvdc.received_mw(0) == 0.0


def test_unknown_line_names_the_nearest(corridor: Corridor) -> None:
    assert corridor.line("SHY-TAS").chain == ("SHY", "TAS")
    assert corridor.line("KUN-AKT").chain == ("KUN", "KUNAKT1", "AKT")
    with pytest.raises(KeyError, match="SHY-TAS"):
        corridor.line("SHY-TAZ")


def test_every_fault_of_a_data_set_is_named(corridor: Corridor) -> None:
    line = msgspec.structs.replace(corridor.lines[0], km=301.0, to_bus="NURA")
    joint = msgspec.structs.replace(corridor.lines[1], mid=())
    broken = text_with(corridor, lines=(line, joint, *corridor.lines[2:]))
    with pytest.raises(ConfigError) as caught:
        parse(broken, "c.json")
    keys = [problem.key for problem in caught.value.problems]
    assert keys == ["lines[0].km", "lines[1].mid", "lines[0]"]
    assert 'did you mean "NUR"?' in str(caught.value)


@pytest.mark.parametrize("text", [b"{", b"[]", b"{}"])
def test_text_that_is_no_data_set_is_refused(text: bytes) -> None:
    with pytest.raises(ConfigError, match=r"c\.json"):
        parse(text, "c.json")
