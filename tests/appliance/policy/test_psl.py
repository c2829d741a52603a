"""The public suffix list: whose name is it?"""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.policy import psl

LIST = """
// ===BEGIN ICANN DOMAINS===
com
uk
co.uk    and what stands behind a space is no part of the rule
jp
*.kobe.jp
!city.kobe.jp
中国
公司.cn
cn
// ===BEGIN PRIVATE DOMAINS===
github.io
""".splitlines()
RULES = psl.parse(LIST)


@pytest.mark.parametrize(
    ("domain", "organization"),
    [
        ("example.com", "example.com"),
        ("a.b.example.com", "example.com"),
        ("a.example.co.uk", "example.co.uk"),
        ("a.example.uk", "example.uk"),
        ("co.uk", "co.uk"),
        ("com", "com"),
        ("a.b.c.kobe.jp", "b.c.kobe.jp"),
        ("c.kobe.jp", "c.kobe.jp"),
        ("a.city.kobe.jp", "city.kobe.jp"),
        ("kobe.jp", "kobe.jp"),
        ("a.user.github.io", "user.github.io"),
        ("a.b.xn--fiqs8s", "b.xn--fiqs8s"),
        ("www.a.xn--55qx5d.cn", "a.xn--55qx5d.cn"),
        ("a.bank.example", "bank.example"),  # not in the list: the default rule
        ("example", "example"),
    ],
)
def test_an_organization_has_one_label_more_than_the_suffix(domain: str, organization: str) -> None:
    assert psl.organizational_domain(domain, RULES) == organization


def test_strangers_below_an_unlisted_top_level_domain_stay_strangers() -> None:
    one, other = (psl.organizational_domain(f"mail.{name}.test", RULES) for name in ("a", "b"))
    assert one != other


def test_the_list_is_read_from_a_file_once(tmp_path: Path) -> None:
    path = tmp_path / "list.dat"
    path.write_text("\n".join(LIST), encoding="utf-8")
    assert psl.load(path) == RULES
    path.unlink()
    assert psl.load(path) is psl.load(path)
    with pytest.raises(FileNotFoundError):
        psl.load(tmp_path / "none.dat")


@pytest.mark.full
def test_debians_list_is_understood() -> None:
    rules = psl.load(psl.DEBIAN_LIST)
    assert len(rules.suffixes) > 5000
    assert psl.organizational_domain("a.b.example.co.uk", rules) == "example.co.uk"
    assert psl.organizational_domain("x.www.ck", rules) == "www.ck"
