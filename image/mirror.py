"""Where Debian packages come from: the host's own apt settings, or `MIRROR=`.

A Debian host already knows a mirror that works for it. Its entries are read (both
the one-line and the deb822 form) and pointed at trixie. Nothing read here ever goes
into the repository or onto the image.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from image.run import die

SUITE = "trixie"
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
MIRROR_HINT = (
    "say which Debian mirror to use, e.g.  make image MIRROR=http://mirror.example/debian"
    "  (and MIRROR_SECURITY= if its security archive is elsewhere)"
)


@dataclass(frozen=True, slots=True)
class Entry:
    """One archive named in an apt source file."""

    uri: str
    suite: str


@dataclass(frozen=True, slots=True)
class Mirror:
    """The two archives packages come from; `security` is empty when there is none."""

    main: str
    security: str

    def sources(self) -> list[str]:
        """One-line apt sources for trixie."""
        option = f"[signed-by={KEYRING}]"
        lines = [
            f"deb {option} {self.main} {SUITE} main",
            f"deb {option} {self.main} {SUITE}-updates main",
        ]
        if self.security:
            lines.append(f"deb {option} {self.security} {SUITE}-security main")
        return lines


def choose(env: Mapping[str, str], apt: Path = Path("/etc/apt")) -> Mirror:
    """The mirror to use: `MIRROR=` when given, else the host's own."""
    if main := env.get("MIRROR", "").rstrip("/"):
        return Mirror(main, _security_beside(main, env.get("MIRROR_SECURITY", "")))
    entries = [Entry(_follow(entry.uri), entry.suite) for entry in read_sources(apt)]
    entries = [e for e in entries if re.match(r"https?://", e.uri)]
    main = _first(entries, _is_main)
    if not main:
        die("this host's apt settings name no Debian mirror", MIRROR_HINT)
    security = env.get("MIRROR_SECURITY", "") or _first(entries, _is_security)
    return Mirror(main, _security_beside(main, security))


def read_sources(apt: Path) -> list[Entry]:
    """Every binary archive in the host's apt source files, in apt's order."""
    entries = list(_one_line(apt / "sources.list"))
    for path in sorted((apt / "sources.list.d").glob("*")):
        if path.suffix == ".list":
            entries += _one_line(path)
        elif path.suffix == ".sources":
            entries += _deb822(path)
    return entries


def _one_line(path: Path) -> Iterator[Entry]:
    for line in _text(path).splitlines():
        line = re.sub(r"\[[^\]]*\]", "", line.split("#")[0])
        words = line.split()
        if len(words) >= 3 and words[0] == "deb":
            yield Entry(words[1].rstrip("/"), words[2])


def _deb822(path: Path) -> Iterator[Entry]:
    for stanza in re.split(r"\n\s*\n", _text(path)):
        fields = _fields(stanza)
        if fields.get("enabled", "yes").lower() in ("no", "false", "off", "0"):
            continue
        if "deb" not in fields.get("types", "").split():
            continue
        for uri in fields.get("uris", "").split():
            for suite in fields.get("suites", "").split():
                yield Entry(uri.rstrip("/"), suite)


def _fields(stanza: str) -> dict[str, str]:
    """Field names in lower case; comment lines may stand between continuation lines."""
    fields: dict[str, str] = {}
    name = ""
    for line in stanza.splitlines():
        if line.startswith("#"):
            continue
        if line[:1] in (" ", "\t"):
            fields[name] = f"{fields.get(name, '')} {line.strip()}"
        elif ":" in line:
            name, _, value = line.partition(":")
            name = name.strip().lower()
            fields[name] = value.strip()
    return fields


def _follow(uri: str) -> str:
    """Debian's cloud images name a file with the real mirror in it."""
    if uri.startswith("mirror+file:"):
        lines = _text(Path(uri.removeprefix("mirror+file:").replace("///", "/"))).split()
        return lines[0].rstrip("/") if lines else uri
    return uri


def _is_main(entry: Entry) -> bool:
    plain = re.fullmatch(r"[a-z]+", entry.suite) is not None
    return plain and entry.uri.endswith("/debian")


def _is_security(entry: Entry) -> bool:
    return entry.suite.endswith("-security") and "debian" in entry.uri


def _security_beside(main: str, given: str) -> str:
    if given:
        return "" if given == "none" else given.rstrip("/")
    return f"{main}-security" if main.endswith("/debian") else ""


def _first(entries: list[Entry], wanted: Callable[[Entry], bool]) -> str:
    return next((entry.uri for entry in entries if wanted(entry)), "")


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def apt_options(dump: str) -> list[str]:
    """What of the host's `apt-config dump` matters for reaching its mirror.

    Proxies, TLS files and date checks belong to the way to the mirror; everything
    else on the host must not influence the image.
    """
    wanted = re.compile(
        r'^Acquire::(https?::(Proxy|Verify|CaInfo|SslCert|SslKey)[\w:./-]*|Check-[\w-]+) "[^"]+";$'
    )
    return [line for line in dump.splitlines() if wanted.match(line)]
