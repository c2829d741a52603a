"""Letters that are hard to pass on and legal all the same, made anew for each run.

Each is a head and a body that some mail program really writes, or that the standards allow and
some mail server repairs. All lines end with CR LF and are at most 998 octets long (RFC 5322
§2.1.1); none holds a NUL or a CR or LF alone. `letters()` gives the same ones each time.
"""

from __future__ import annotations

import base64
import hashlib
import quopri
from collections.abc import Iterator

LONGEST = 998
Named = dict[str, bytes]


def noise(seed: str, length: int) -> bytes:
    """The same octets for the same words."""
    found = b""
    while len(found) < length:
        found += hashlib.sha256(f"{seed} {len(found)}".encode()).digest()
    return found[:length]


def eight_bit(seed: str, length: int) -> bytes:
    """Any octets but NUL, CR and LF."""
    return noise(seed, length).translate(None, b"\0\r\n")


def lines(*texts: bytes) -> bytes:
    return b"".join(text + b"\r\n" for text in texts)


# Heads: each is the field lines alone, without From.


def _subjects() -> Named:
    charsets = (
        "iso-8859-1", "iso-8859-15", "iso-8859-2", "windows-1252", "windows-1251", "koi8-r",
        "iso-2022-jp", "euc-kr", "gb2312", "big5", "utf-8", "utf-7", "us-ascii", "x-unknown",
    )  # fmt: skip
    words = {"windows-1251": "Привет", "koi8-r": "Привет", "iso-2022-jp": "日本", "euc-kr": "한국",
             "gb2312": "中国", "big5": "中國", "us-ascii": "plain", "x-unknown": "odd"}  # fmt: skip
    found: Named = {}
    for name in charsets:
        text = words.get(name, "Grüße")
        raw = text.encode("ascii" if name == "x-unknown" else name, "replace")
        coded = base64.b64encode(raw).decode()
        found[f"subject in {name}"] = lines(f"Subject: =?{name}?B?{coded}?=".encode())
    return found


def heads() -> Named:
    """Fields beside From, To and Date, by a name that says what is odd."""
    long_word = b"x" * (LONGEST - len("Subject: "))
    return {
        "plain": lines(b"Subject: hello"),
        **_subjects(),
        "no subject": b"",
        "empty subject": lines(b"Subject:"),
        "white subject": lines(b"Subject:   "),
        "subject ends white": lines(b"Subject: hello \t "),
        "tab behind the colon": lines(b"Subject:\thello"),
        "nothing behind the colon": lines(b"Subject:hello"),
        "no case": lines(b"SUBJECT: a", b"mime-version: 1.0", b"X-lower: b"),
        "line of 998": lines(b"Subject: " + long_word),
        "folded by tab": lines(b"Subject: one", b"\ttwo", b"\t\tthree"),
        "folded by many spaces": lines(b"Subject: one", b"      two", b" " * 70 + b"three"),
        "folded to 90 lines": lines(b"X-List: 0;", *(b" %d;" % n for n in range(89))),
        "folded line ends white": lines(b"Subject: one  ", b" two\t", b" three"),
        "folded at once": lines(b"Subject:", b" hello"),
        "100 fields": lines(*(b"X-Field-%d: %d" % (n, n) for n in range(100))),
        "the same field 40 times": lines(*(b"X-Same: %d" % n for n in range(40))),
        "two subjects": lines(b"Subject: one", b"Subject: two"),
        "odd names": lines(b"X!#$%&'*+-.^_`|~: a", b"1: b", b"X: c", b"-: d", b"_: e"),
        "a name of 200": lines(b"X-" + b"a" * 200 + b": b"),
        "only a name": lines(b"X-Empty:", b"X-Blank: "),
        "colons in the value": lines(b"X-Url: http://a.example:80/::", b"X-Time: ::"),
        "UTF-8 in the value": lines("Subject: Grüße aus Köln 🌍".encode()),
        "latin-1 in the value": lines("Subject: Grüße".encode("latin-1")),
        "any octets in the value": lines(b"X-Raw: " + eight_bit("value", 300)),
        "controls in the value": lines(b"X-Controls: a\x01b\x07c\x0bd\x0ce\x1bf\x7fg"),
        "broken encoded words": lines(b"Subject: =?utf-8?B?===?= =?x?Q?=?= =?utf-8?Q?=C3?="),
        "ten encoded words": lines(
            b"Subject: =?utf-8?Q?w0?=", *(b" =?utf-8?Q?w%d?=" % n for n in range(1, 10))
        ),
        "comments": lines(b"X-Comment: (a (b (c) d) \\( e) f"),
        "quoted strings": lines(b'X-Quoted: "a \\" b" "c" "\\\\"'),
        "groups": lines(b"Cc: Friends: a@x.example, b@x.example;, nobody:;"),
        "long list of Cc": lines(
            b"Cc: a0@x.example,", *(b" a%d@x.example," % n for n in range(1, 99)), b" z@x.example"
        ),
        "a field signed elsewhere": lines(
            b"DKIM-Signature: v=1; a=rsa-sha256; c=simple/simple; d=elsewhere.example; s=s;",
            b"\th=from:to : subject;  bh=AAAA;", b"\tb=AA AA",
        ),
        "sealed elsewhere": lines(
            b"ARC-Seal: i=1; a=rsa-sha256; cv=none; d=elsewhere.example; s=s; b=AAAA",
            b"ARC-Message-Signature: i=1; a=rsa-sha256; d=elsewhere.example; s=s; h=from; bh=; b=",
            b"ARC-Authentication-Results: i=1; elsewhere.example; none",
        ),
        "judged elsewhere": lines(b"Authentication-Results: elsewhere.example; spf=fail"),
        "judged as spam elsewhere": lines(b"X-Spam-Flag: YES", b"X-Spam-Score: 99"),
        "trace fields": lines(
            *(b"Received: from a%d by b; Wed, 25 Nov 2026 12:00:00 +0000" % n for n in range(9))
        ),
        "Return-Path inside": lines(b"Return-Path: <somebody@elsewhere.example>"),
        "resent": lines(
            b"Resent-From: c@x.example", b"Resent-To: d@x.example", b"Resent-Message-ID: <r@x>"
        ),
        "list fields": lines(
            b"List-Id: <l.x.example>", b"List-Unsubscribe: <mailto:u@x>", b"Precedence: bulk"
        ),
        "odd Message-ID": lines(b"Message-ID: <no at sign>", b"In-Reply-To: text (and) <a@b> <c"),
        "odd Date": lines(b"X-Date: Thu, 32 Foo 99 25:61:61 +9999"),
        "Bcc of a stranger": lines(b"Bcc:", b"X-Bcc: a@x.example"),
        "asks for a receipt": lines(b"Disposition-Notification-To: a@client.example"),
        "mbox line as a field": lines(b"X-From: From a@b Thu Jan  1 2026", b">From: quoted"),
        "content length": lines(b"Content-Length: 3", b"Lines: 1", b"Status: RO", b"X-Status: A"),
        "unknown charset": lines(b"Content-Type: text/plain; charset=x-nothing"),
        "unknown encoding": lines(b"Content-Transfer-Encoding: x-rot13"),
        "binary declared": lines(b"MIME-Version: 1.0", b"Content-Transfer-Encoding: 8BIT"),
        "MIME with comments": lines(b"MIME-Version: (a) 1.0 (b)", b"Content-Type: text/(c)plain"),
        "parameters in pieces": lines(
            b"Content-Disposition: attachment;", b" filename*0*=utf-8''a%20;", b" filename*1=b.txt"
        ),
        "parameter twice": lines(b"Content-Type: text/plain; charset=utf-8; charset=latin1"),
        "no type": lines(b"Content-Type:"),
    }  # fmt: skip


def _texts() -> Iterator[tuple[str, bytes]]:
    yield "text", lines(b"Hello,", b"", b"this is a letter.")
    yield "empty", b""
    yield "one empty line", lines(b"")
    yield "twenty empty lines", lines(*[b""] * 20)
    yield "ends with empty lines", lines(b"x", b"", b"", b"")
    yield "begins with empty lines", lines(b"", b"", b"x")
    yield "white lines", lines(b" ", b"\t", b"  \t ", b"x")
    yield "trailing spaces", lines(b"a ", b"b  ", b"c\t", b"-- ", b"d" + b" " * 500)
    yield "runs of spaces", lines(b"a   b", b"a\t \tb", b"   a")
    yield "a dot", lines(b".")
    yield "dots", lines(b".", b"..", b"...", b".a", b". ", b"a.", b"")
    yield "dots to the end", lines(*[b"."] * 50)
    yield "a dot after 997", lines(b"x" * 997 + b".", b".")
    yield "SMTP commands", lines(b"QUIT", b"DATA", b"RCPT TO:<x@y>", b"RSET", b".QUIT")
    yield "mbox lines", lines(b"From a@b Thu Jan  1 00:00:00 2026", b">From x", b"", b"From ", b"y")
    yield "looks like a header", lines(b"Subject: no", b"Received: no", b" folded", b"", b"x")
    yield "a letter in a letter", lines(b"From: a@b", b"", b"x", b"", b"From: c@d", b"", b"y")
    yield "latin-1", lines("Grüße aus Köln".encode("latin-1"))
    yield "UTF-8", lines("Grüße 🌍 \u202e\ufeff\u2028".encode())
    yield "UTF-8 with a mark", lines(b"\xef\xbb\xbfmark")
    yield "broken UTF-8", lines(b"\xc3", b"\xe2\x82", b"\xff\xfe\xfd", b"\xc0\xaf")
    yield "iso-2022-jp", lines("日本語の手紙".encode("iso-2022-jp"))
    yield "shift-jis", lines("日本語".encode("shift-jis"))
    yield "gb18030", lines("中国".encode("gb18030"))
    yield "controls", lines(bytes(set(range(1, 32)) - {10, 13}), b"\x7f", b"\x1a", b"\x1b[31m")
    yield "form feeds", lines(b"a\x0c", b"\x0b", b"\x0cb", b"\x85")
    yield "all octets", lines(bytes(set(range(1, 256)) - {10, 13}))


def _sizes() -> Iterator[tuple[str, bytes]]:
    for length in (76, 77, 78, 79, 510, 511, 512, 513, 996, 997, LONGEST):
        yield f"lines of {length}", lines(*[b"y" * length] * 3)
    yield "a dot and 997", lines(b"." + b"y" * 997)
    for size in (4_095, 4_096, 4_097, 65_534, 65_535, 65_536, 65_537, 131_072):
        yield f"{size} octets", (b"z" * 62 + b"\r\n") * (size // 64) + b"q" * (size % 64) + b"\r\n"
    yield "8,000 short lines", b"1\r\n" * 8_000
    yield "8,000 empty lines and one", b"\r\n" * 8_000 + b"x\r\n"
    for number in range(8):
        rows = [eight_bit(f"row {number} {n}", 40 + 17 * n) for n in range(40)]
        yield f"noise {number}", lines(*rows)


def _mime() -> Iterator[tuple[str, bytes]]:
    picture = noise("picture", 5_000)
    coded = base64.b64encode(picture)
    yield "base64 by 76", lines(*(coded[at : at + 76] for at in range(0, len(coded), 76)))
    yield "base64 by 996", lines(*(coded[at : at + 996] for at in range(0, len(coded), 996)))
    yield "base64 without an end", lines(coded[:77], b"=", b"====", b"!!")
    quoted = quopri.encodestring("Grüße = und = \t \n".encode() * 20).replace(b"\n", b"\r\n")
    yield "quoted-printable", quoted if quoted.endswith(b"\r\n") else quoted + b"\r\n"
    yield "soft breaks at the end", lines(b"a=", b"b=20", b"c=3D=", b"=")
    yield "uuencoded", lines(b"begin 644 x.txt", b"#86)C", b"`", b"end")
    yield (
        "signed in the clear",
        lines(b"-----BEGIN PGP SIGNED MESSAGE-----", b"", b"- -- ", b"- From x", b"-----END-----"),
    )


_BOUNDARIES = {
    "usual": b"----=_Part_1",
    "a dash": b"-",
    "70 letters": b"b" * 70,
    "odd letters": b"'()+_,-./:=?",
    "like a dot line": b".",
}


def trees() -> Named:
    """Messages of several parts: fields of MIME, an empty line, and the body."""
    found = {f"parts, {name}": parts(edge, 3) for name, edge in _BOUNDARIES.items()}
    found |= {f"nested {depth} deep": nested(depth) for depth in (2, 20, 60)}
    found["parts without an end"] = parts(b"edge", 3).replace(b"--edge--", b"--edge")
    found["parts that are none"] = parts(b"edge", 0)
    found["a hundred parts"] = parts(b"edge", 100)
    return {name: b"MIME-Version: 1.0\r\n" + tree for name, tree in found.items()}


def parts(boundary: bytes, count: int) -> bytes:
    """Parts, with text before and behind them."""
    kind = b'Content-Type: multipart/mixed; boundary="' + boundary + b'"'
    found = lines(kind, b"", b"before the parts")
    for number in range(count):
        found += lines(
            b"--" + boundary, b"Content-Type: text/plain; name=%d.txt" % number, b"", b"x"
        )
    return found + lines(b"--" + boundary + b"--", b"behind the parts")


def nested(depth: int) -> bytes:
    """Parts in parts."""
    inner = lines(b"", b"innermost")
    for level in range(depth):
        mark = b"n%d" % level
        kind = b"Content-Type: multipart/mixed; boundary=" + mark
        inner = lines(kind, b"", b"--" + mark) + inner + lines(b"--" + mark + b"--")
    return inner


def bodies() -> Named:
    """Bodies by a name that says what is odd."""
    return dict([*_texts(), *_sizes(), *_mime()])


_FIRST = lines(
    b"From: Anna <anna@client.example>", b"To: b@example.org", b"Date: Wed, 25 Nov 2026 12:00 +0000"
)


def _letter(head: bytes, body: bytes) -> bytes:
    return _FIRST + head + b"\r\n" + body


def letters() -> Named:
    """At least 322 letters: each head and each body alone, and pairs of odd ones."""
    all_heads, all_bodies = heads(), bodies()
    found = {f"head: {name}": _letter(head, all_bodies["text"]) for name, head in all_heads.items()}
    found |= {
        f"body: {name}": _letter(all_heads["plain"], body) for name, body in all_bodies.items()
    }
    found |= {f"tree: {name}": _FIRST + tree for name, tree in trees().items()}
    names = [name for name in all_bodies if len(all_bodies[name]) < 20_000]
    for number, (name, head) in enumerate(all_heads.items()):
        for step in (7, 19, 31):
            body = names[(number * step + step) % len(names)]
            found[f"{name} / {body}"] = _letter(head, all_bodies[body])
    found["no field but From"] = b"From: anna@client.example\r\n\r\nx\r\n"
    found["fields and no empty line"] = b"From: anna@client.example\r\nSubject: x\r\n"
    found["From in the middle"] = b"X: 1\r\nFrom: anna@client.example\r\nY: 2\r\n\r\nx\r\n"
    found["UTF-8 address in From"] = "From: Jürgen <jürgen@client.example>\r\n\r\nx\r\n".encode()
    return found
