"""Numbers, sizes and times as people say them."""

from __future__ import annotations

from datetime import UTC, datetime, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from appliance.web.i18n import _, current_language


def zone(name: str) -> tzinfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return UTC


def number(value: float, decimals: int = 0) -> str:
    """A number with the language's separators: 12,345.6 or 12.345,6."""
    text = f"{value:,.{decimals}f}"
    if current_language() == "de":
        return text.translate(str.maketrans(",.", ".,"))
    return text


def size(count: int) -> str:
    """Bytes in the unit that leaves at most four digits."""
    if count < 1000:
        return _("%(n)s bytes", n=number(count))
    for unit, step in (("kB", 1e3), ("MB", 1e6), ("GB", 1e9)):
        if count < step * 1000 or unit == "GB":
            value = count / step
            return f"{number(value, 0 if value >= 10 else 1)} {unit}"
    raise AssertionError("the last unit takes all")


def duration(seconds: float) -> str:
    """A span, rounded to what matters: "40 seconds", "12 minutes", "3 hours", "2 days"."""
    seconds = max(0, round(seconds))
    if seconds < 90:
        return _("1 second") if seconds == 1 else _("%(n)s seconds", n=seconds)
    minutes = round(seconds / 60)
    if minutes < 90:
        return _("%(n)s minutes", n=minutes)
    hours = round(seconds / 3600)
    if hours < 48:
        return _("%(n)s hours", n=hours)
    return _("%(n)s days", n=number(round(seconds / 86400)))


def clock_time(at: datetime, now: datetime, tz: tzinfo) -> str:
    """The clock's time, with the date when it is not today."""
    local, today = at.astimezone(tz), now.astimezone(tz).date()
    if local.date() == today:
        return f"{local:%H:%M}"
    return f"{local:%d.%m.%Y %H:%M}" if current_language() == "de" else f"{local:%Y-%m-%d %H:%M}"


def day(at: datetime, tz: tzinfo) -> str:
    """The date, as the language writes it."""
    local = at.astimezone(tz)
    return f"{local:%d.%m.%Y}" if current_language() == "de" else f"{local:%Y-%m-%d}"


def moment(at: datetime, now: datetime, tz: tzinfo) -> str:
    """ "in 12 minutes (14:32)", "3 hours ago (11:20)", "now"."""
    away = (at - now).total_seconds()
    clock = clock_time(at, now, tz)
    if abs(away) < 2:
        return _("now (%(clock)s)", clock=clock)
    span = duration(abs(away))
    if current_language() == "de":
        span = span.replace(" Tage", " Tagen")  # the dative that "in" and "vor" ask for
    if away > 0:
        return _("in %(span)s (%(clock)s)", span=span, clock=clock)
    return _("%(span)s ago (%(clock)s)", span=span, clock=clock)


def parse_time(raw: object) -> datetime | None:
    """A time as the daemons send it: ISO 8601 text or seconds since 1970; None when absent."""
    try:
        if isinstance(raw, int | float):
            return datetime.fromtimestamp(raw, UTC)
        if isinstance(raw, str) and raw:
            at = datetime.fromisoformat(raw)
            return at if at.tzinfo else at.replace(tzinfo=UTC)
    except (ValueError, OverflowError, OSError):
        pass
    return None
