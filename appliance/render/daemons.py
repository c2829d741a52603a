"""relay.json and web.json: what our own daemons read, and all they read, of the settings.

The web needs no secrets of the mail routes; they are left out of its file.
"""

import json

from appliance.render import rspamd
from appliance.render.facts import Facts
from appliance.settings import schema
from appliance.settings.schema import Settings

RELAY_FILE = "relay.json"
WEB_FILE = "web.json"


def render(settings: Settings, facts: Facts, *, revision: int) -> dict[str, bytes]:
    """Both files; `revision` tells a daemon (and a person) which settings it runs with."""
    return {
        RELAY_FILE: _document(revision, settings, facts, secrets=True),
        WEB_FILE: _document(revision, settings, facts, secrets=False),
    }


def _document(revision: int, settings: Settings, facts: Facts, *, secrets: bool) -> bytes:
    document = {
        "revision": revision,
        "settings": schema.to_json(settings, secrets=secrets),
        "facts": {**facts.to_json(), "scanner": rspamd.scanner(settings, facts)},
    }
    return json.dumps(document, ensure_ascii=False, indent=1, sort_keys=True).encode() + b"\n"
