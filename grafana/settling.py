"""Settlement: scheduled, metered and inadvertent energy of every account, and what was revised."""

from __future__ import annotations

from collections.abc import Iterator

from grafana.model import Model
from grafana.panels import columns, listing
from grafana.records import REVISIONS, settled, settled_table
from grafana.sheet import ENERGY, PERCENT, Row


def rows(model: Model) -> Iterator[Row]:
    """Rows of panels."""
    first = [
        columns(
            "Inadvertent energy of each quarter of an hour",
            "Metered less agreed energy of ties and areas, by the newest revision; of a contract what came "
            "in less what left and the agreed losses.",
            ENERGY,
            ("$tag_account", settled("inadvertent_mwh")),
        )
    ]
    if model.grid.contract:
        first.append(
            columns(
                "Wheeled energy of each quarter of an hour",
                "What came into the transit area for each contract, pro rata of its schedule.",
                ENERGY,
                ("$tag_account", settled("wheeled_mwh", kind="contract")),
            )
        )
    yield (
        "Quarters of an hour",
        [
            *first,
            columns(
                "Metered energy of ties",
                "By the newest revision, with the sign of the schedule.",
                ENERGY,
                ("$tag_account", settled("metered_mwh", kind="tie")),
            ),
            columns(
                "Measured part of each interval",
                "Time without gaps in the meters' readings; what is missing is bridged, substituted or "
                "lacking, as the table says.",
                PERCENT,
                ("$tag_account", settled("completeness_pct")),
            ),
        ],
    )
    yield (
        "Intervals",
        [
            listing(
                "Settled quarters of an hour",
                "The newest revision of each interval, newest first; energies in MWh.",
                settled_table(),
                height=8,
            ),
            listing(
                "Settled hours",
                "The newest revision of each hour, newest first.",
                settled_table(60),
                height=8,
            ),
            listing(
                "Revisions",
                "Intervals that changed after they were closed, with the reason.",
                REVISIONS,
                height=7,
            ),
        ],
    )
