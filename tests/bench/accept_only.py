"""The relay with delivery off, so that accepting can be measured alone."""

from __future__ import annotations

from appliance.relay import main
from appliance.relay.worker import Worker

if __name__ == "__main__":
    Worker.start = lambda self: None  # type: ignore[method-assign]
    Worker.offer = lambda self, message: None  # type: ignore[method-assign]
    main.main()
