"""rspamd.conf: the spam filter, tuned for a small box (about 130 MB instead of 280).

One worker, no proxy, no controller, no learning: those need Redis. What is lost without Redis:
the Bayes filter, the reputation of senders, and limits per sender (which the box has itself).
The rules of regular expressions, of MIME, of links and of forged senders need none of it.

Hyperscan's compiled tables are kept on the data partition: made anew they take ten seconds of
a PC's time. Nothing is fetched from rspamd's own servers.
"""

from pathlib import Path

from appliance.render.facts import Facts
from appliance.settings.content import SCANNER_PORT
from appliance.settings.schema import Settings

FILE = "rspamd.conf"
SWITCH = "rspamd.on"
LEAST_MEMORY_BYTES = 900 * 1024 * 1024  # a board of 1 GB tells less than that
STATE_FOLDER = "rspamd"
OWN_ADDRESS = f"127.0.0.1:{SCANNER_PORT}"
TASK_SECONDS = 8  # a message's own limit inside rspamd
# What is asked of the network beside the sender's own DNS records comes with `ask_lists`.
_MODULES = (
    "chartable regexp dkim spf dmarc arc mime_types mid once_received forged_recipients "
    "maillist hfilter phishing trie"
)
MODULES = _MODULES.split()
LIST_MODULES = ("rbl",)


def is_on(settings: Settings, facts: Facts) -> bool:
    """Whether the box's own rspamd runs."""
    content = settings.content
    if facts.dev or not facts.claimed or content.scanner:
        return False
    enough = facts.memory_bytes >= LEAST_MEMORY_BYTES
    wanted = content.spam == "on" or (content.spam == "auto" and enough)
    return wanted or (content.virus and bool(content.clamav))


def scanner(settings: Settings, facts: Facts) -> str:
    """Whom the relay is to ask: `host:port`, or empty for nobody."""
    content = settings.content
    if content.spam == "off" and not (content.virus and content.clamav):
        return ""
    return content.scanner or (OWN_ADDRESS if is_on(settings, facts) else "")


def render(settings: Settings, facts: Facts) -> dict[str, bytes]:
    """Nothing while it is off."""
    if not is_on(settings, facts):
        return {}
    text = configuration(settings, state=facts.data / STATE_FOLDER, resolver=facts.resolver)
    return {FILE: text.encode(), SWITCH: b""}


def configuration(
    settings: Settings, *, state: Path, resolver: str, listen: str = OWN_ADDRESS
) -> str:
    """The whole configuration. `state` is a folder of its own; `resolver` is address:port."""
    content = settings.content
    modules = [*MODULES, *(LIST_MODULES if content.ask_lists else ())]
    included = "".join(f'.include "$CONFDIR/modules.d/{name}.conf"\n' for name in modules)
    return _TEMPLATE.format(
        state=state,
        listen=listen,
        dns=f'nameserver = ["{resolver}"];' if resolver else "",
        seconds=TASK_SECONDS,
        max_message=content.scan_bytes + 1024 * 1024,
        modules=included,
        antivirus=_antivirus(settings),
    )


def _antivirus(settings: Settings) -> str:
    """Each attachment is given to clamd; what it finds is a symbol, judged by the relay."""
    content = settings.content
    if not (content.virus and content.clamav):
        return ""
    return _ANTIVIRUS.format(clamav=content.clamav, max_size=content.scan_bytes)


_TEMPLATE = """\
# Made by Pennypost from its settings; do not edit.
lua = "$RULESDIR/rspamd.lua";
.include "$CONFDIR/groups.conf"
.include "$CONFDIR/composites.conf"
options {{
    filters = "chartable,dkim,regexp";
    pidfile = false;
    control_socket = "{state}/control.sock mode=0600";
    cache_file = "{state}/symbols.cache";
    hs_cache_dir = "{state}/";
    tempdir = "/tmp";
    disable_hyperscan = true;
    check_all_filters = true;
    allow_raw_input = true;
    max_message = {max_message};
    max_urls = 1000;
    max_recipients = 500;
    words_decay = 600;
    history_rows = 10;
    task_timeout = {seconds}s;
    soft_reject_on_timeout = false;
    map_watch_interval = 1d;
    url_tld = "/usr/share/publicsuffix/effective_tld_names.dat";
    local_addrs = ["127.0.0.0/8", "::1"];
    dns {{
        {dns}
        timeout = 1s;
        retransmits = 2;
        sockets = 4;
    }}
}}
lang_detection {{
    languages_enable = ["en"];
}}
logging {{
    type = "console";
    level = "error";
    systemd = true;
    color = false;
}}
# The relay judges by the score; these are for rspamd's own test message (GTUBE).
actions {{
    reject = 15;
    add_header = 6;
}}
worker "normal" {{
    bind_socket = "{listen}";
    count = 1;
    mime = true;
    task_timeout = {seconds}s;
}}
modules {{
    path = "${{PLUGINSDIR}}";
}}
{modules}
# The relay does not tell the client's name in DNS, so that cannot be judged.
hfilter {{
    hostname_enabled = false;
}}
{antivirus}"""

_ANTIVIRUS = """\
antivirus {{
    clamav {{
        type = "clamav";
        symbol = "CLAM_VIRUS";
        servers = "{clamav}";
        scan_mime_parts = true;
        scan_text_mime = true;
        scan_image_mime = true;
        max_size = {max_size};
        timeout = 6.0;
        retransmits = 1;
        log_clean = false;
    }}
}}
"""
