"""`python3 -m appliance.cli`."""

import sys

from appliance.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
