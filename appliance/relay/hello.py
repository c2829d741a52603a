"""What we say of ourselves: the greeting and the answer to EHLO (RFC 5321 §4.1.1.1, §4.2).

They change with the settings alone, so that each is put together once.
"""

from functools import lru_cache

from appliance.mail import sasl


@lru_cache(8)
def greeting(hostname: str) -> bytes:
    """The first line."""
    return f"220 {hostname} ESMTP Pennypost\r\n".encode()


@lru_cache(64)
def extensions(hostname: str, max_bytes: int, *, sign_in: bool, starttls: bool) -> bytes:
    """The lines after EHLO."""
    lines = [
        hostname, "PIPELINING", f"SIZE {max_bytes}", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES",
        "DSN",
    ]  # fmt: skip
    if sign_in:
        lines.append("AUTH " + " ".join(sasl.MECHANISMS))
    if starttls:
        lines.append("STARTTLS")
    *first, last = lines
    return "".join([f"250-{line}\r\n" for line in first] + [f"250 {last}\r\n"]).encode()
