"""Asks the advisory service about the locked dependencies; says so clearly where it gave no answer.

    python -m infra.audit infra/requirements/runtime.txt

pip-audit says "no known vulnerabilities" also of what the service knows nothing about, as a mirror of packages does.
"""

import json
import subprocess
import sys
from typing import Any


def report(answer: str, complaint: str) -> tuple[str, int]:
    """What to say about pip-audit's JSON ``answer``, or its ``complaint`` where it has none; and the exit code."""
    try:
        dependencies: list[dict[str, Any]] = json.loads(answer)["dependencies"]
    except ValueError:
        last = (complaint.strip().splitlines() or ["it said nothing"])[-1]
        return f"NOT AUDITED: the advisory service did not answer ({last[:200]}).", 0
    skipped = [each["name"] for each in dependencies if "skip_reason" in each]
    found = [
        f"{each['name']} {each['version']}: {known['id']}, mended in {', '.join(known['fix_versions']) or 'no version'}"
        for each in dependencies
        for known in each.get("vulns", [])
    ]
    asked = len(dependencies) - len(skipped)
    lines = [*found, f"{asked} of {len(dependencies)} dependencies audited, {len(found)} vulnerabilities."]
    if skipped:
        lines.append(f"NOT AUDITED, the advisory service does not know them: {', '.join(skipped)}.")
    return "\n".join(lines), 1 if found else 0


def main() -> None:
    """Fail on a known vulnerability; go on, loudly, without an answer."""
    command = [sys.executable, "-m", "pip_audit", "--disable-pip", "--require-hashes", "--progress-spinner", "off"]
    command += ["--timeout", "15", "--format", "json", "--requirement", sys.argv[1]]
    asked = subprocess.run(command, capture_output=True, text=True, check=False)
    text, code = report(asked.stdout, asked.stderr)
    print(text)
    raise SystemExit(code)


if __name__ == "__main__":
    main()
