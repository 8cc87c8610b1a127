"""Reads template.yaml, for those who must agree with it: the build and the tests."""

from pathlib import Path
from typing import Any

import yaml

PATH = Path(__file__).parent.parent / "template.yaml"


class _Loader(yaml.SafeLoader):
    """YAML with CloudFormation's short forms: ``!Ref x`` becomes ``{"Ref": "x"}``."""


def _long_form(loader: yaml.SafeLoader, suffix: str, node: yaml.Node) -> dict[str, Any]:
    value: Any
    if isinstance(node, yaml.ScalarNode):
        value = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        raise yaml.constructor.ConstructorError(problem=f"!{suffix} of a mapping", problem_mark=node.start_mark)
    if suffix == "GetAtt" and isinstance(value, str):
        value = value.split(".", 1)
    return {suffix if suffix in {"Ref", "Condition"} else f"Fn::{suffix}": value}


_Loader.add_multi_constructor("!", _long_form)


def load(path: Path = PATH) -> dict[str, Any]:
    """The template as one dictionary, intrinsic functions in their long form."""
    template: dict[str, Any] = yaml.load(path.read_text(), Loader=_Loader)  # noqa: S506 - a SafeLoader
    return template


def of_type(template: dict[str, Any], kind: str) -> dict[str, dict[str, Any]]:
    """The resources of a type by their logical id."""
    return {name: each for name, each in template["Resources"].items() if each["Type"] == kind}


def functions(template: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The properties of each Lambda function by the function's module name, e.g. ``create_store``."""
    found = of_type(template, "AWS::Serverless::Function").values()
    return {each["Properties"]["Handler"].split(".")[1]: each["Properties"] for each in found}


def statements(function: dict[str, Any]) -> list[dict[str, Any]]:
    """The IAM statements of a function."""
    return [each for policy in function.get("Policies", []) for each in policy["Statement"]]


def granted_actions(template: dict[str, Any]) -> set[str]:
    """All that any function may do."""
    return {
        action
        for function in functions(template).values()
        for statement in statements(function)
        for action in statement["Action"]
    }
