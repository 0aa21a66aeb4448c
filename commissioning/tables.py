"""Tables that people read on a terminal; pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence


def aligned(
    heading: Sequence[str], rows: Sequence[Sequence[str]], right: Collection[int] = (), *, indent: int = 2
) -> str:
    """Rows under a heading, in columns as wide as their longest cell.

    Parameters
    ----------
    heading
        Names of the columns.
    rows
        Cells; each row has as many as the heading.
    right
        Columns that are aligned on the right: numbers.
    indent
        Spaces before each line.

    """
    lines = [[printable(cell) for cell in line] for line in (heading, *rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(heading))]
    shown = [
        "  ".join(
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in lines
    ]
    return "\n".join(f"{' ' * indent}{line}".rstrip() for line in shown)


def printable(text: str) -> str:
    """A text without what would move the cursor: devices may say anything."""
    return "".join(character if character.isprintable() else "?" for character in text)


def number(value: float) -> str:
    """A measured value for people: seven significant digits, as many as a float32 has."""
    if value == int(value) and abs(value) < 1e15:
        return str(int(value))
    return f"{value:.7g}"
