"""Imports only ever point down, and each outside library has one door (ARCHITECTURE.md)."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

FLOORS: list[set[str]] = [  # lowest first
    {"appliance.mail", "hw.model"},
    {"appliance.base", "appliance.settings", "appliance.dns", "hw"},
    {"appliance.policy"},
    {
        "appliance.spool",
        "appliance.accounts",
        "appliance.certs",
        "appliance.memory",
        "appliance.storage",
        "appliance.upkeep",
        "appliance.render",
    },
    {"appliance.relay", "appliance.steward", "appliance.storage.main", "hw.main"},
    {"appliance.web", "appliance.cli", "appliance.dev"},
]

DOORS = {  # library: the only modules that may import it
    "aiosmtpd": ("appliance.relay",),
    "dns": ("appliance.dns.live",),
    "flask": ("appliance.web",),
    "waitress": ("appliance.web",),
    "argon2": ("appliance.accounts",),
    "cryptography": ("appliance.certs", "appliance.policy.dane", "appliance.policy.dkim_key"),
    "dkim": ("tests",),  # the oracle in tests; nothing on the box runs it
    "subprocess": ("appliance.base.run", "image"),
    "smbus2": ("hw.leds",),
    "pyudev": ("hw.disks",),
}


def modules() -> list[Path]:
    return [path for room in ("appliance", "hw", "image") for path in (ROOT / room).rglob("*.py")]


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(source: str) -> Iterator[tuple[int, str]]:
    """Line and absolute name of each import in `source`."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: write absolute imports"
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)


def is_in(module: str, room: str) -> bool:
    return module == room or module.startswith(room + ".")


def floor_of(module: str) -> int | None:
    """The floor of the longest prefix of `module` that FLOORS names."""
    hits = [
        (len(room), floor)
        for floor, rooms in enumerate(FLOORS)
        for room in rooms
        if is_in(module, room)
    ]
    return max(hits)[1] if hits else None


def upward(module: str, source: str) -> list[str]:
    """The imports of `module` that point up or cross between towers."""
    here = floor_of(module)
    wrong = []
    for line, target in imports_of(source):
        there = floor_of(target)
        if here is not None and there is not None and there > here:
            wrong.append(f"line {line}: {target} is upstairs")
        if is_in(module, "image") and (is_in(target, "appliance") or is_in(target, "hw")):
            wrong.append(f"line {line}: image/ copies {target}, it does not import it")
        if is_in(target, "image") and not is_in(module, "image"):
            wrong.append(f"line {line}: {target} stays on the builder's machine")
    return wrong


def back_doors(module: str, source: str) -> list[str]:
    """The outside libraries that `module` imports and has no right to."""
    return [
        f"line {line}: {library} has another door"
        for line, target in imports_of(source)
        for library, doors in DOORS.items()
        if is_in(target, library) and not any(is_in(module, door) for door in doors)
    ]


@pytest.mark.parametrize("path", modules(), ids=name_of)
def test_imports_point_down(path: Path) -> None:
    assert upward(name_of(path), path.read_text()) == []


@pytest.mark.parametrize("path", modules(), ids=name_of)
def test_each_library_has_one_door(path: Path) -> None:
    assert back_doors(name_of(path), path.read_text()) == []


@pytest.mark.parametrize("path", modules(), ids=name_of)
def test_every_module_stands_on_a_floor(path: Path) -> None:
    name = name_of(path)
    if is_in(name, "image") or name in {"appliance", "hw"}:
        return
    assert floor_of(name) is not None


def test_the_check_sees_an_upward_import() -> None:
    assert upward("appliance.mail.address", "from appliance.relay import session\n")
    assert upward("appliance.spool.store", "import appliance.relay.main\n")
    assert upward("image.build", "from appliance.base import files\n")
    assert not upward("appliance.relay.main", "from appliance.spool import store\n")


def test_the_check_sees_a_back_door() -> None:
    assert back_doors("appliance.spool.store", "import subprocess\n")
    assert back_doors("appliance.policy.spf", "from dns import resolver\n")
    assert not back_doors("appliance.dns.live", "import dns.resolver\n")
