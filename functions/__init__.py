"""One module per Lambda function, named after what it does."""

import gc

# What imports make stays for good, so the collector's passes over it while it grows are wasted:
# about a tenth of a function's init (docs/decisions.md). Garbage is still collected, later.
gc.set_threshold(200_000, 10, 10)
