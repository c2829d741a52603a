"""Settings and facts with which the relay signs what smtp-source sends: RSA-2048 alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from appliance.certs import dkim_keys

DOMAIN = "src.test"  # smtp-source's From


def given(folder: Path) -> dict[str, Any]:
    """What `Ours` is to be given."""
    path = folder / "signing.pem"
    path.write_bytes(dkim_keys.make_rsa())
    return {
        "settings": {
            "mail.additional_domains": [DOMAIN],
            "relay.trusted_networks": ["127.0.0.0/8"],
        },
        "facts": {
            "dkim_keys": [
                {"domain": DOMAIN, "selector": "s1", "algorithm": "rsa-sha256", "path": str(path)}
            ]
        },
    }
