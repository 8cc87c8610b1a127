"""What is said about known vulnerabilities, and about not knowing."""

import json

from infra import audit

KNOWN = {"id": "PYSEC-1", "fix_versions": ["1.1"]}


def answer(*dependencies: dict[str, object]) -> str:
    return json.dumps({"dependencies": dependencies})


def test_fails_on_a_known_vulnerability() -> None:
    text, code = audit.report(answer({"name": "a", "version": "1.0", "vulns": [KNOWN]}), "")

    assert code == 1
    assert "a 1.0: PYSEC-1, mended in 1.1" in text


def test_says_that_all_is_well() -> None:
    assert audit.report(answer({"name": "a", "version": "1.0", "vulns": []}), "") == (
        "1 of 1 dependencies audited, 0 vulnerabilities.",
        0,
    )


def test_does_not_take_silence_for_an_answer() -> None:
    text, code = audit.report(answer({"name": "a", "skip_reason": "not found"}), "")

    assert code == 0
    assert "0 of 1 dependencies audited" in text
    assert "NOT AUDITED" in text


def test_goes_on_when_the_service_cannot_be_reached() -> None:
    text, code = audit.report("", "Traceback …\nConnectionError: refused\n")

    assert code == 0
    assert text == "NOT AUDITED: the advisory service did not answer (ConnectionError: refused)."
