"""Every measurement: ``make bench``.

Exits non-zero where a count or a memory is over its budget. The ratios are only printed: one near its budget may be on
the other side of it on a busy machine (``python -m infra.bench.init ARCHIVE --check`` decides about the starts).
"""

import logging
import sys

from infra import build
from infra.bench import counts, init, page, throughput, verification

ROUNDS = 15
FOLDER = build.ROOT / ".local/build"


def main() -> None:
    """Measure and print."""
    logging.getLogger("storelink").setLevel(logging.WARNING)
    print("## AWS calls and write units\n")
    lines = counts.measure()
    print(counts.table(lines), "\n", sep="\n")
    print("## Init\n")
    FOLDER.mkdir(parents=True, exist_ok=True)
    with init.unpacked(build.build(build.Target.local(), FOLDER)) as artifact:
        print(init.report(artifact, [*init.BUDGETS, "create_store"], ROUNDS).text)
    print("\n## Verification of webhooks\n")
    print(verification.report(verification.measure()))
    print("\n## A page of a query\n")
    print(page.report(page.measure()))
    print("\n## Throughput\n", flush=True)
    fast = throughput.measure(throughput.ORDERS, throughput.PRODUCTS, throughput.ROUNDS)
    print(fast.text)
    sys.exit(not (all(line.in_budget for line in lines) and fast.in_budget))


if __name__ == "__main__":
    main()
