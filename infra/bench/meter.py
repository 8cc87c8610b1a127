"""Runs a command and says what the whole of it took. Itself small: its memory counts as the command's at the start.

python -I -S infra/bench/meter.py OUTPUT COMMAND…
"""

import json
import resource
import subprocess
import sys
import time
from pathlib import Path

with Path(sys.argv[1]).open("wb") as output:
    began = time.perf_counter()
    code = subprocess.call(sys.argv[2:], stdout=output)
    seconds = time.perf_counter() - began
used = resource.getrusage(resource.RUSAGE_CHILDREN)
peak = used.ru_maxrss / 1024
print(json.dumps({"code": code, "seconds": seconds, "cpu": used.ru_utime + used.ru_stime, "peak": peak}))
