"""rspamd.conf: the spam filter, tuned for a small box (about 130 MB instead of 280).

One worker, no proxy, no Redis. What is lost without Redis: the reputation of senders, and limits
per sender (which the box has itself). The rules of regular expressions, of MIME, of links and of
forged senders need none of it.

Where mailboxes are kept, a second process learns from what people move to the junk folder and
out of it, by a socket that is the mailboxes' alone. The words are kept in SQLite files, which are
enough for a house. They count from `LEAST_LEARNT` letters of either kind on; since hardly anybody
ever has to move that many good letters out of junk, good ones that score low are learnt as they
pass, never more than spam (`check_balance`).

Hyperscan's compiled tables are kept on the data partition. A process that had to make them
(a minute and more on a small board) keeps up to 90 MB for it, so `pennypost-spam-tables.service`
starts the filter again after that.

Nothing is fetched: the modules whose stock configuration names maps on public servers (mid,
mime_types, phishing, rbl) get one of ours, with the package's own copies of the maps, and their
stock files are not read, so that a new version's maps cannot slip in. The lists of links that
`ask_lists` allows are asked by DNS; none of them is rspamd's.
"""

from pathlib import Path

from appliance.render import dovecot
from appliance.render.facts import Facts
from appliance.settings.content import SCANNER_PORT
from appliance.settings.schema import Settings

FILE = "rspamd.conf"
SWITCH = "rspamd.on"
LEAST_MEMORY_BYTES = 900 * 1024 * 1024  # a board of 1 GB tells less than that
STATE_FOLDER = "rspamd"
OWN_ADDRESS = f"127.0.0.1:{SCANNER_PORT}"
LEARN_SOCKET = Path("/run/pennypost-learn/learn.sock")
LEAST_LEARNT = 30
TASK_SECONDS = 8  # a message's own limit inside rspamd
# Whose stock configuration is read: these name no public server.
_MODULES = (
    "chartable regexp dkim spf dmarc arc once_received forged_recipients maillist hfilter trie"
)
MODULES = _MODULES.split()


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
    learn = f"{LEARN_SOCKET} mode=0666"  # in a folder of the mailboxes' group
    text = configuration(
        settings,
        state=facts.data / STATE_FOLDER,
        resolver=facts.resolver,
        learn=learn if dovecot.is_on(settings, facts) else "",
    )
    return {FILE: text.encode(), SWITCH: b""}


def configuration(
    settings: Settings,
    *,
    state: Path,
    resolver: str,
    listen: str = OWN_ADDRESS,
    learn: str = "",
) -> str:
    """The whole configuration. `state` is a folder of its own; `resolver` is address:port;
    `learn` is the socket for what is to be learnt, with its rights; empty: nothing is."""
    content = settings.content
    included = "".join(f'.include "$CONFDIR/modules.d/{name}.conf"\n' for name in MODULES)
    return _TEMPLATE.format(
        state=state,
        listen=listen,
        dns=f'nameserver = ["{resolver}"];' if resolver else "",
        seconds=TASK_SECONDS,
        max_message=content.scan_bytes + 1024 * 1024,
        modules=included + _AT_HOME,
        lists=_LISTS if content.ask_lists else "",
        antivirus=_antivirus(settings),
        learning=_LEARNING.format(state=state, learn=learn, least=LEAST_LEARNT) if learn else "",
    )


def _antivirus(settings: Settings) -> str:
    """What clamd finds is a symbol, judged by the relay.

    It gets each attachment as rspamd takes the message apart, and the message as a whole: rspamd
    hands on no text and no part of a kind that it knows to be harmless, and ClamAV alone might
    take a message apart in another way than the reader's program does.
    """
    content = settings.content
    if not (content.virus and content.clamav):
        return ""
    rules = "".join(
        _ANTIVIRUS.format(
            name=name,
            symbol=symbol,
            parts=parts,
            clamav=content.clamav,
            max_size=content.scan_bytes + 1024 * 1024,
        )
        for name, symbol, parts in (
            ("parts", "CLAM_VIRUS", "true"),
            ("whole", "CLAM_WHOLE", "false"),
        )
    )
    return f"antivirus {{\n{rules}}}\n"


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
{lists}{antivirus}{learning}"""

_AT_HOME = """\
mid {
    source {
        url = ["${CONFDIR}/maps.d/mid.inc"];
    }
}
mime_types {
    file = ["${CONFDIR}/maps.d/mime_types.inc"];
    extension_map {
        html = "text/html";
        txt = ["text/plain", "text/rfc822-headers", "message/disposition-notification"];
        pdf = ["application/pdf", "application/x-pdf", "application/octet-stream"];
    }
}
phishing {
    symbol = "PHISHING";
    openphish_enabled = false;
    phishtank_enabled = false;
    exceptions {
        REDIRECTOR_FALSE = ["${CONFDIR}/maps.d/redirectors.inc"];
    }
}
"""

# The codes are those that each list documents; the scores are rspamd's own (surbl_group.conf).
_LISTS = """\
rbl {
    default_exclude_users = true;
    url_whitelist = ["${CONFDIR}/maps.d/surbl-whitelist.inc"];
    rbls {
        SURBL_MULTI {
            rbl = "multi.surbl.org";
            checks = ["urls", "emails", "dkim"];
            emails_domainonly = true;
            url_full_hostname = true;
            ignore_defaults = true;
            returnbits {
                DM_SURBL = 4;
                PH_SURBL_MULTI = 8;
                MW_SURBL_MULTI = 16;
                CT_SURBL = 32;
                ABUSE_SURBL = 64;
                CRACKED_SURBL = 128;
                SURBL_BLOCKED = 1;
            }
        }
        URIBL_MULTI {
            rbl = "multi.uribl.com";
            checks = ["urls", "emails", "dkim"];
            emails_domainonly = true;
            ignore_defaults = true;
            returnbits {
                URIBL_BLOCKED = 1;
                URIBL_BLACK = 2;
                URIBL_GREY = 4;
                URIBL_RED = 8;
            }
        }
        DBL {
            rbl = "dbl.spamhaus.org";
            checks = ["urls", "emails", "dkim"];
            emails_domainonly = true;
            no_ip = true;
            ignore_defaults = true;
            returncodes {
                DBL_SPAM = "127.0.1.2";
                DBL_PHISH = "127.0.1.4";
                DBL_MALWARE = "127.0.1.5";
                DBL_BOTNET = "127.0.1.6";
                DBL_ABUSE = "127.0.1.102";
                DBL_ABUSE_REDIR = "127.0.1.103";
                DBL_ABUSE_PHISH = "127.0.1.104";
                DBL_ABUSE_MALWARE = "127.0.1.105";
                DBL_ABUSE_BOTNET = "127.0.1.106";
                DBL_BLOCKED_OPENRESOLVER = "127.255.255.254";
                DBL_BLOCKED = "127.255.255.255";
            }
        }
        SEM_URIBL_UNKNOWN {
            rbl = "uribl.spameatingmonkey.net";
            checks = ["urls", "emails", "dkim"];
            emails_domainonly = true;
            no_ip = true;
            ignore_defaults = true;
            returnbits {
                SEM_URIBL = 2;
            }
        }
    }
}
"""

_ANTIVIRUS = """\
    {name} {{
        type = "clamav";
        symbol = "{symbol}";
        servers = "{clamav}";
        scan_mime_parts = {parts};
        scan_image_mime = true;
        max_size = {max_size};
        timeout = 6.0;
        retransmits = 1;
        log_clean = false;
    }}
"""

_LEARNING = """\
classifier "bayes" {{
    backend = "sqlite3";
    tokenizer {{
        name = "osb";
    }}
    cache {{
        type = "sqlite3";
        path = "{state}/learnt.sqlite";
    }}
    min_tokens = 11;
    min_learns = {least};
    autolearn {{
        spam_threshold = 1000;
        ham_threshold = -1;
        check_balance = true;
        min_balance = 0.9;
    }}
    statfile {{
        symbol = "BAYES_HAM";
        path = "{state}/ham.sqlite";
        spam = false;
    }}
    statfile {{
        symbol = "BAYES_SPAM";
        path = "{state}/spam.sqlite";
        spam = true;
    }}
}}
worker "controller" {{
    bind_socket = "{learn}";
    count = 1;
}}
"""
