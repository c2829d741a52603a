"""The command line: `pennypost` on a box, `scripts/pennypost --data DIR` in a checkout.

Exit status: 0 done, 1 refused (the finding is printed), 2 wrong usage. `--json` prints the
result, or the finding, as JSON.
"""
