"""What is written down holds."""

import re
from pathlib import Path

from shared import problems

DOCS = Path(__file__).parents[1] / "docs"


def test_every_problem_is_explained_under_its_name_and_nothing_else_is():
    text = (DOCS / "problems.md").read_text()

    explained = dict(re.findall(r"^## (\S+)\n\n\*\*(\d{3} .+?)\.\*\* .+\n\nWhat to do: .+$", text, re.MULTILINE))

    assert explained == {kind.name(): f"{kind.status} {kind.title}" for kind in problems.every()}
    assert len(re.findall("^## ", text, re.MULTILINE)) == len(explained)


def test_every_problem_says_what_it_means_where_it_is_defined():
    for kind in problems.every():
        assert kind.__doc__.endswith("."), kind
        assert kind.__name__ in problems.__doc__ or kind in {problems.SignatureInvalid, problems.DeliveryEmpty}, kind
