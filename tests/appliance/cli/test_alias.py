"""`pennypost alias ...`, on a checkout where nothing runs."""

from pathlib import Path

import pytest

from tests.support.checkout import CommandLine


@pytest.mark.full
def test_aliases_are_kept_from_the_shell(tmp_path: Path) -> None:
    pennypost = CommandLine(tmp_path / "data")
    pennypost("alias", "add", "Info", "anna", "x@Away.example", "--comment", "front desk")
    taken = pennypost("alias", "add", "info", "bert")
    assert taken.status == 1
    assert pennypost("alias", "edit", "info", "--name", "desk", "--to", "bert", "anna").status == 0
    assert pennypost("alias", "list", "--json").json() == [
        {"alias": "desk", "targets": ["bert", "anna"], "comment": "front desk"}
    ]
    assert pennypost("alias", "import", "-", stdin="a;anna bert;team\n").status == 0
    assert pennypost("alias", "export").out.splitlines() == [
        "alias,targets,comment",
        "desk,bert anna,front desk",
        "a,anna bert,team",
    ]
    deep = "".join(f"c{n},c{n + 1}\n" for n in range(25))
    assert pennypost("alias", "import", "-", stdin=deep).status == 1
    assert pennypost("alias", "import", "-", "--replace", stdin="b,anna\n").status == 0
    assert pennypost("alias", "remove", "b").status == 0
    assert pennypost("alias", "list").out == "There are no aliases.\n"
    assert pennypost("alias", "preview", "b").status == 1, "nobody is there to ask"
