"""The matrix of docs/platforms/README.md: what each adapter can do, read off the Protocols that it fits.

``python -m infra.matrix`` (``make matrix``) writes it there.
"""

from pathlib import Path

from shared.platforms import ABILITIES, BY_KEY, capabilities
from shared.platforms.base import PlatformName

PAGE = Path(__file__).parents[1] / "docs/platforms/README.md"
BEGIN, END = "<!-- matrix: make matrix -->\n", "<!-- end of matrix -->\n"


def render() -> str:
    """The table, a platform in each row."""
    columns = [BY_KEY, *ABILITIES]
    head = [f"| platform | {' | '.join(columns)} |", f"| --- |{' --- |' * len(columns)}"]
    rows = []
    for name in sorted(PlatformName):
        can = capabilities(name).abilities
        cells = ("yes" if column in can else "no" for column in columns)
        rows.append(f"| `{name}` | {' | '.join(cells)} |")
    return "\n".join([*head, *rows]) + "\n"


def written() -> str:
    """The table that the page has."""
    return PAGE.read_text().split(BEGIN)[1].split(END)[0]


def main() -> None:
    """Puts the table into the page."""
    text = PAGE.read_text()
    before, rest = text.split(BEGIN)
    PAGE.write_text(f"{before}{BEGIN}{render()}{END}{rest.split(END)[1]}")


if __name__ == "__main__":
    main()
