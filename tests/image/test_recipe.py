"""Boards and the package list: what is accepted, what is said about the rest."""

from __future__ import annotations

from pathlib import Path

import pytest

from image import recipe
from image.run import BuildError

GOOD = {"name": "x", "title": "X", "arch": "amd64", "consoles": ["tty0"]}


def test_every_board_of_this_checkout_loads() -> None:
    assert {"generic-amd64", "generic-arm64"} <= set(recipe.known_boards())
    for board in recipe.known_boards():
        what = recipe.load(board)
        assert what.name == board
        assert f"linux-image-{what.arch.debian}" in what.packages


def test_an_unknown_board_is_answered_with_the_known_ones() -> None:
    with pytest.raises(BuildError) as error:
        recipe.load("toaster")
    assert "generic-amd64, generic-arm64" in error.value.hint


@pytest.mark.parametrize("name", ["../boards/generic-amd64", "", "generic-amd64.toml"])
def test_a_path_is_no_board(name: str) -> None:
    with pytest.raises(BuildError):
        recipe.load(name)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"arch": "sparc"}, "sparc"),
        ({"colour": "red"}, "colour"),
        ({"title": 3}, "title"),
        ({"consoles": "tty0"}, "consoles"),
    ],
)
def test_a_bad_board_file_is_refused_with_the_key(change: dict[str, object], word: str) -> None:
    with pytest.raises(BuildError, match=word):
        recipe.from_toml(GOOD | change, where="x.toml", packages=())


def test_a_missing_key_is_named() -> None:
    with pytest.raises(BuildError, match="arch"):
        recipe.from_toml({"name": "x"}, where="x.toml", packages=())


def test_a_package_named_twice_is_refused(tmp_path: Path) -> None:
    (tmp_path / "list").write_text("nginx  # the web\n\n# more\nnginx\n")
    with pytest.raises(BuildError, match="nginx"):
        recipe.read_packages(tmp_path / "list")
