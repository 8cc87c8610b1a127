"""What is written down holds."""

import inspect
import re
from pathlib import Path

import pytest

from infra import matrix, template
from shared import changes, platforms, problems, stores
from shared.models import Outcome, Processing
from shared.platforms import base
from shared.platforms.base import PlatformName, Resource

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md")])
TEMPLATE = template.load()


def text_of(*names: str) -> str:
    return "\n".join((ROOT / name).read_text() for name in names)


def first_cells(text: str) -> list[str]:
    """The first cell of each row of each table."""
    return re.findall(r"^\| (.+?) \|", text, re.MULTILINE)


def section(heading: str, text: str) -> str:
    """What stands under a heading of the second level."""
    return text.split(f"\n## {heading}\n")[1].split("\n## ", maxsplit=1)[0]


def anchors_of(page: Path) -> set[str]:
    """The headings as GitHub makes anchors of them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_problem_is_explained_under_its_name_and_nothing_else_is():
    text = (DOCS / "problems.md").read_text()

    explained = dict(re.findall(r"^## (\S+)\n\n\*\*(\d{3} .+?)\.\*\* .+\n\nWhat to do: .+$", text, re.MULTILINE))

    assert explained == {kind.name(): f"{kind.status} {kind.title}" for kind in problems.every()}
    assert len(re.findall("^## ", text, re.MULTILINE)) == len(explained)


def test_every_problem_says_what_it_means_where_it_is_defined():
    for kind in problems.every():
        assert kind.__doc__.endswith("."), kind
        assert kind.__name__ in problems.__doc__ or kind in {problems.SignatureInvalid, problems.DeliveryEmpty}, kind


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page):
    links = re.findall(r"\]\((?!https?://)([^)#]*)(?:#([^)]+))?\)", page.read_text())

    for path, anchor in links:
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), path
        assert not anchor or anchor in anchors_of(target), f"{path}#{anchor}"


def test_every_page_can_be_reached_from_the_readme():
    reached, follow = set(), [ROOT / "README.md"]
    while follow:
        page = follow.pop()
        reached.add(page)
        links = re.findall(r"\]\((?!https?://)([^)#]+\.md)", page.read_text())
        follow += {(page.parent / link).resolve() for link in links} - reached

    assert reached == set(PAGES)


def test_every_parameter_is_in_the_readme_with_its_default():
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*?) ?\|", text_of("README.md"), re.MULTILINE))

    parameters = TEMPLATE["Parameters"]

    assert list(rows) == list(parameters)
    for name, parameter in parameters.items():
        default = parameter.get("Default", "")
        shown = "none" if default == "" and "Default" in parameter else f"`{default}`" if default != "" else ""
        assert rows[name] == shown, name


def test_every_variable_of_the_functions_is_explained():
    explained = set(re.findall(r"`([A-Z][A-Z_]+)`", text_of("docs/operations.md")))

    assert explained >= set(TEMPLATE["Globals"]["Function"]["Environment"]["Variables"])


def test_every_alarm_and_every_dead_letter_queue_says_what_to_do():
    named = set(re.findall(r"`(\w+)`", "\n".join(first_cells(text_of("docs/operations.md")))))

    alarms = template.of_type(TEMPLATE, "AWS::CloudWatch::Alarm")
    queues = {name for name in template.of_type(TEMPLATE, "AWS::SQS::Queue") if name.endswith("DeadLetters")}

    assert {name for name in named if name.endswith("Alarm")} == set(alarms)
    assert {name for name in named if name.endswith("DeadLetters")} == queues


def test_every_function_and_every_table_is_in_the_architecture():
    text = text_of("docs/architecture.md")
    functions = set(template.functions(TEMPLATE))
    tables = {
        table["Properties"]["TableName"]["Fn::Sub"].removeprefix("${AWS::StackName}-")
        for table in template.of_type(TEMPLATE, "AWS::DynamoDB::Table").values()
    }

    assert set(", ".join(first_cells(section("Functions", text))).split(", ")) - {"function", "---"} == functions
    assert set(re.findall(r"`([a-z-]+)`", " ".join(first_cells(section("Tables", text))))) == tables


def test_every_module_is_in_the_architecture():
    modules = {path.name for path in (ROOT / "shared").glob("*.py")} - {"__init__.py"}

    assert (
        set(re.findall(r"(\w+\.py)`", ", ".join(first_cells(section("The code", text_of("docs/architecture.md"))))))
        == modules
    )


def test_every_route_is_in_the_api_with_its_function():
    rows = re.findall(r"^\| (`[A-Z]+ /.+?) \| \w+ \| (\w+) \|$", text_of("docs/api.md"), re.MULTILINE)
    listed = {(route, function) for routes, function in rows for route in re.findall(r"`([A-Z]+ .+?)`", routes)}

    routes = {
        (f"{event['Properties']['Method']} {event['Properties']['Path']}", name)
        for name, function in template.functions(TEMPLATE).items()
        for event in function.get("Events", {}).values()
        if event["Type"] == "HttpApi"
    }

    assert listed == routes


def test_every_event_that_is_published_is_explained_and_no_other():
    source = Path(changes.__file__).read_text()
    published = set(re.findall(r'"((?:store|sync|privacy)\.\w+)"', source))
    kinds = [resource.removesuffix("s") for resource in Resource]
    happens = re.findall(r'"(\w+)"', inspect.getsource(changes._what_happened))
    published |= {f"{kind}.{what}" for what in happens for kind in kinds}

    cells = " ".join(first_cells(text_of("docs/events.md")))

    assert set(re.findall(r"`(\w+\.\w+)`", cells)) == published


def test_the_start_that_is_shown_asks_as_many_routes_as_there_are():
    events = [event for each in template.functions(TEMPLATE).values() for event in each.get("Events", {}).values()]

    (shown,) = re.findall(r"routes \((\d+)\) answer", text_of("docs/local.md"))

    assert int(shown) == sum(event["Type"] == "HttpApi" for event in events)


def test_every_registration_is_in_the_operations_with_what_the_adapter_takes_from_it():
    rows = dict(re.findall(r"^\| `STACK/apps/(\w+)`.*?\| (.+) \|$", text_of("docs/operations.md"), re.MULTILINE))
    secrets = template.of_type(TEMPLATE, "AWS::SecretsManager::Secret").values()

    assert set(rows) == {each["Properties"]["Name"]["Fn::Sub"].rpartition("/")[2] for each in secrets}
    for name, row in rows.items():
        source = inspect.getsource(inspect.getmodule(type(platforms.PLATFORMS[PlatformName(name)])))
        assert set(re.findall(r"`(\w+)`", row)) == set(re.findall(r"\bmore\.get\([\"'](\w+)", source)), name


def test_every_protocol_of_the_adapters_is_in_the_guide_with_what_it_asks_for():
    rows = re.findall(r"^\| `(\w+)` \| .+ \| (`.+`) \|$", text_of("docs/adding-a-platform.md"), re.MULTILINE)
    guide = {protocol: set(re.findall(r"`(\w+)`", asked)) | {"name"} for protocol, asked in rows}

    protocols = {name: each for name, each in vars(base).items() if getattr(each, "_is_protocol", False)}
    del protocols["Http"], protocols["Protocol"]

    assert guide == {
        name: {asked for asked in {**vars(each), **inspect.get_annotations(each)} if not asked.startswith("_")}
        | {"name"}
        for name, each in protocols.items()
    }


@pytest.mark.parametrize("name", list(PlatformName))
def test_every_platform_is_listed_and_has_a_page(name):
    row = next(line for line in text_of("docs/platforms/README.md").splitlines() if f"`{name}`" in line)

    assert f"({type(platforms.PLATFORMS[name]).__module__.rpartition('.')[2]}.md)" in row


def test_the_matrix_of_the_platforms_is_that_of_the_code():
    assert matrix.written() == matrix.render()


@pytest.mark.parametrize("name", list(PlatformName))
def test_what_a_platform_cannot_do_has_its_reason(name):
    rows = section("What is not there, and why", text_of("docs/platforms/README.md"))
    told = {
        ability
        for who, ability in re.findall(r"^\| (.+?) \| (.+?) \|", rows, re.MULTILINE)
        if (f"`{name}`" in who) != who.startswith("all but")
    }

    every = {platforms.BY_KEY, *platforms.ABILITIES}
    assert told - {"ability", "---"} == every - platforms.capabilities(name).abilities


def test_every_outcome_and_every_reason_is_explained():
    assert {f"`{outcome}`" for outcome in Outcome} <= set(first_cells(text_of("docs/sync.md")))
    assert {f"`{outcome}`" for outcome in Processing} <= set(first_cells(text_of("docs/webhooks.md")))
    assert set(stores.REASONS) <= set(re.findall("`([A-Z_]+)`", text_of("docs/api.md")))
