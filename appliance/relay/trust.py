"""Whose certificates are believed when the box calls others by TLS."""

import ssl


def verifying_context(cafile: str = "") -> ssl.SSLContext:
    """A client's context that checks certificate and name, against `cafile` or Debian's roots.

    Python 3.13 refuses certificates whose authority lacks fields that RFC 5280 wants of it
    (VERIFY_X509_STRICT). Smarthosts with an office's own authority often lack them, and no mail
    server else asks for them; the chain is checked all the same.
    """
    context = ssl.create_default_context(cafile=cafile or None)
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context
