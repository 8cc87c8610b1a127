"""The description of the API and the API agree; that answers fit it is seen in functions/test_every_route.py."""

import html
import json
import re

import pytest
from openapi_spec_validator import validate

from infra import describe
from shared import problems

CREDENTIALS = {"accesstoken", "refreshtoken", "apikey", "apisecret", "webhooksecret"}


@pytest.fixture(scope="module")
def document():
    return describe.openapi()


def operations(document):
    return {(method, path): each for path, methods in document["paths"].items() for method, each in methods.items()}


def test_is_valid_openapi(document):
    validate(document)

    assert document["openapi"].startswith("3.1.")


def test_has_every_route_of_the_template_with_its_scopes_and_no_other(document):
    described = {
        route: [scope for need in each["security"] for scope in need["token"]]
        for route, each in operations(document).items()
    }

    assert described == {(method, path): scopes for _, method, path, scopes in describe.routes()}
    assert len(described) == 31


def test_every_operation_has_a_name_a_summary_its_answers_and_what_failures_look_like(document):
    names = [each["operationId"] for each in operations(document).values()]
    assert len(set(names)) == len(names)

    for route, each in operations(document).items():
        assert each["summary"], route
        assert "application/problem+json" in each["responses"]["default"]["content"], route
        assert set(each["responses"]) - {"default"} <= {"200", "201", "202", "204"}, route
        in_path = {parameter["name"] for parameter in each.get("parameters", []) if parameter["in"] == "path"}
        assert in_path == set(re.findall(r"{(\w+)}", route[1])), route


def schemas_of(document, part):
    """All names of properties that a part of the document reaches."""
    if isinstance(part, list):
        return set().union(*(schemas_of(document, each) for each in part))
    if not isinstance(part, dict):
        return set()
    found = set(part.get("properties", {}))
    if "$ref" in part:
        name = part["$ref"].rsplit("/", 1)[1]
        found |= schemas_of(document, document["components"]["schemas"][name])
    return found.union(*(schemas_of(document, each) for each in part.values()))


def test_no_answer_has_a_credential_and_those_in_requests_are_write_only(document):
    for route, each in operations(document).items():
        assert not CREDENTIALS & {name.lower() for name in schemas_of(document, each["responses"])}, route
    for schema in document["components"]["schemas"].values():
        for name, each in schema.get("properties", {}).items():
            if name.lower() in CREDENTIALS:
                assert '"writeOnly": true' in json.dumps(each), name


def test_every_schema_is_used(document):
    text = json.dumps(document)

    for name in document["components"]["schemas"]:
        assert f"#/components/schemas/{name}" in text


def test_the_page_shows_the_document_and_explains_each_problem_at_its_anchor(document, tmp_path):
    describe.describe(tmp_path)

    assert json.loads((tmp_path / "openapi.json").read_text()) == document
    page = (tmp_path / "docs.html").read_text()
    for kind in problems.every():
        assert f'<h2 id="{kind.name()}">' in page
        assert html.escape(kind.title) in page
    assert "SwaggerUIBundle({" in page
    assert not re.search(r"(src|href)=[\"']?(?:https?:)?//(?!www\.rfc-editor\.org)", page.partition("<script>")[0])


def test_nothing_in_the_document_can_end_the_pages_script(document):
    shown = describe.page({**document, "x": "</script><script>alert(1)</script>"})

    assert "</script><script>alert" not in shown
