"""The folders that each mailbox has, and what they are called in each language."""

FOLDERS = ("Drafts", "Sent", "Archive", "Junk", "Trash")
# Those that mail programs of that language use.
FOLDER_NAMES = {
    "de": {
        "Drafts": "Entwürfe",
        "Sent": "Gesendet",
        "Archive": "Archiv",
        "Junk": "Spam",
        "Trash": "Papierkorb",
    }
}


def languages() -> tuple[str, ...]:
    """Those in which folders have names."""
    return ("en", *FOLDER_NAMES)


def folder_name(name: str, language: str) -> str:
    """What a folder is called in a language."""
    return FOLDER_NAMES.get(language, {}).get(name, name)
