"""What Dovecot knows of people: files in RUN/mailboxes, written by the steward.

They follow the accounts, not the settings, so they lie beside the rendered set. As long as the
mailbox disk is not ready each line says so, and Dovecot tells everybody to come again later; it
goes on believing a file that was removed.
"""

import base64
import grp
import os
from collections.abc import Sequence
from pathlib import Path

from appliance.accounts.users import User
from appliance.base.files import replace_file
from appliance.render.dovecot import APP_PASSWORDS
from appliance.render.mailbox_folders import FOLDER_NAMES, FOLDERS, languages

USERS = "users"
GROUP = "dovecot"  # of Dovecot's auth process
NO_PASSWORD = "{SSHA512}" + base64.b64encode(bytes(80)).decode()  # nobody knows one that fits
# A hash that cannot be read is an error of the server, and that is what clients are told:
# NO [UNAVAILABLE] by IMAP (RFC 5530), -ERR [SYS/TEMP] by POP3 (RFC 3206).
UNREADABLE = "{SSHA512}!!!"


def by_language(users: Sequence[User], language: str = "en") -> dict[str, list[str]]:
    """The names of the accounts by the language of their folders."""
    spoken: dict[str, list[str]] = {known: [] for known in languages()}
    for user in users:
        chosen = user.language or language
        spoken[chosen if chosen in spoken else "en"].append(user.login)
    return spoken


def files(users: Sequence[User], *, language: str = "en", ready: bool = True) -> dict[str, str]:
    """The files' texts. `language` is that of accounts that have none of their own."""
    texts = {USERS: "".join(_line(user, user.language or language, ready) for user in users)}
    for number in range(APP_PASSWORDS):
        texts[f"app-{number + 1}"] = "".join(
            f"{user.login}:{user.app_hashes[number]}\n"
            for user in users
            if ready and user.enabled and number < len(user.app_hashes)
        )
    return texts


def write_files(
    folder: Path,
    users: Sequence[User],
    *,
    language: str = "en",
    ready: bool = True,
    group: str | None = None,
) -> None:
    """Have Dovecot know these people from now on; `ready`: their mail can be reached."""
    for name, text in files(users, language=language, ready=ready).items():
        _put(folder / name, text.encode(), group)


def _line(user: User, language: str, ready: bool) -> str:
    """passwd-file: name, hash, then what Dovecot is to know besides.

    One who may not sign in gets mail all the same: a hash that nothing fits.
    """
    if not ready:
        return f"{user.login}:{UNREADABLE}::::::userdb_tempfail=yes\n"
    known = f"{{ARGON2ID}}{user.password_hash}" if user.enabled else NO_PASSWORD
    fields = [f"userdb_pp_language={language}"]
    if user.quota_bytes:
        fields.append(f"userdb_quota/user/storage_size={user.quota_bytes}B")
    named = FOLDER_NAMES.get(language, {})
    fields += [
        f"userdb_namespace/inbox/mailbox/{name}/name={named[name]}"
        for name in FOLDERS
        if name in named
    ]
    return f"{user.login}:{known}::::::{' '.join(fields)}\n"


def _exists(group: str) -> bool:
    try:
        grp.getgrnam(group)
    except KeyError:
        return False
    return True


def _put(path: Path, data: bytes, group: str | None) -> None:
    """Dovecot tells a new file from the old one by its time in seconds and its size."""
    before = path.stat().st_mtime if path.exists() else 0.0
    known = group if group and _exists(group) else None
    replace_file(path, data, mode=0o640 if group else 0o644, group=known)
    if (now := path.stat().st_mtime) < before + 1:
        os.utime(path, (now, int(before) + 1))
