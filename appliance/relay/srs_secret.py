"""The secret behind rewritten senders and the marks of copies, made by the relay itself.

Kept in DATA/memory: were it lost, bounces of forwards of the last weeks would be refused, and
nothing else.
"""

import logging
import secrets
from pathlib import Path

from appliance.base.files import replace_file

SECRET_BYTES = 32
_log = logging.getLogger("pennypost.relay")


def load(folder: Path) -> bytes:
    """The secret in `folder`; a new one where there is none, for this run only if need be."""
    path = folder / "srs.secret"
    try:
        found = path.read_bytes()
        if len(found) >= SECRET_BYTES:
            return found
    except FileNotFoundError:
        pass
    except OSError as error:
        _log.warning("%s cannot be read, so older forwards cannot bounce: %s", path, error)
    made = secrets.token_bytes(SECRET_BYTES)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        replace_file(path, made, mode=0o600)
    except OSError as error:
        _log.warning(
            "%s cannot be written, so forwards bounce until the next start only: %s", path, error
        )
    return made
