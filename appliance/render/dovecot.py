"""dovecot.conf: the mailboxes, read by IMAP and POP3, filled by LMTP (Dovecot 2.4).

The order matters to Dovecot: the version lines stand first, global lines before the sections.
`doveconf` proves the syntax only; that a letter comes in and can be read is tested with the
real program (tests/appliance/render/test_dovecot_live.py).

People sign in with a name, `anna` or anna@ one of our domains; what is known of them lies in
`users`, a file that the steward writes from the accounts while the mailbox disk is there. Without
it Dovecot says “temporarily unavailable” to all, which is what a missing disk has to look like:
never an empty mailbox. All mailboxes belong to one system user.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path

from appliance.render import dovecot_sieve
from appliance.render.facts import Facts
from appliance.render.mailbox_folders import FOLDERS
from appliance.settings.mailboxes import LMTP_SOCKET, LOGIN_POLICY_PORT
from appliance.settings.schema import Settings

FILE = "dovecot.conf"
CLEAR_FILE = "in-the-clear"
BESIDE = (CLEAR_FILE, *dovecot_sieve.NAMES)
SWITCH = "dovecot.on"
MAIL_USER = "pp-mail"
LMTP_GROUP = "pp-relay"
SESSIONS_PER_MIB = 8  # an IMAP session takes about 4 MiB; half of the memory stays for the rest
LEAST_SESSIONS, MOST_SESSIONS = 60, 1000
APP_PASSWORDS = 5  # for each account: each is a line in a file of its own
QUOTA_WARNINGS_PERCENT = (80, 95)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """The TCP ports; 0 is shut."""

    imap: int = 143
    imaps: int = 993
    pop3: int = 110
    pop3s: int = 995
    sieve: int = 4190


@dataclass(frozen=True, slots=True, kw_only=True)
class Where:
    """Where Dovecot finds its things: on a box, or in a test's folder."""

    mail: Path = Path("/srv/mail")
    users: Path = Path("/run/pennypost/mailboxes")
    base: Path = Path(LMTP_SOCKET).parent
    scripts: Path = Path("/usr/lib/pennypost")  # with bin/ and sieve/
    rendered: Path = Path("/run/pennypost/rendered")  # this file and those beside it
    certificate: Path
    key: Path
    ports: Ports = field(default_factory=Ports)
    listen: str = "*, ::"
    log: str = "/dev/stderr"
    policy: str = ""  # host:port of who counts wrong passwords
    relay: Path = Path("/run/pennypost/mailboxes.sock")  # takes what filters send
    learn: Path = Path("/run/pennypost-learn/learn.sock")  # what is moved to junk and out of it


def is_on(settings: Settings, facts: Facts) -> bool:
    """Whether the box keeps mailboxes."""
    return settings.mailboxes.enabled and facts.claimed and not facts.dev


def open_ports(settings: Settings, ports: Ports | None = None) -> Ports:
    """The ports that the settings open."""
    known, wanted = ports or Ports(), settings.mailboxes
    return Ports(
        imap=known.imap * wanted.imap,
        imaps=known.imaps * wanted.imaps,
        pop3=known.pop3 * wanted.pop3,
        pop3s=known.pop3s * wanted.pop3s,
        sieve=known.sieve * wanted.managesieve,
    )


def render(settings: Settings, facts: Facts) -> dict[str, bytes]:
    """Nothing while mailboxes are off."""
    if not is_on(settings, facts):
        return {}
    where = Where(
        mail=facts.mail_root,
        users=facts.run / "mailboxes",
        rendered=facts.rendered,
        certificate=facts.tls_certificate,
        key=facts.tls_key,
        policy=f"127.0.0.1:{LOGIN_POLICY_PORT}",
        relay=facts.run / "mailboxes.sock",
    )
    text = configuration(settings, where, memory_bytes=facts.memory_bytes)
    return {
        FILE: text.encode(),
        SWITCH: b"",
        **{name: content.encode() for name, content in beside(where).items()},
    }


def beside(where: Where) -> dict[str, str]:
    """The files that stand beside the configuration, named in BESIDE."""
    return {CLEAR_FILE: _CLEAR, **dovecot_sieve.files(where.learn)}


def sessions(memory_bytes: int) -> int:
    """How many people's programs may be connected at a time."""
    fitting = memory_bytes // (SESSIONS_PER_MIB * 1024 * 1024)
    return max(LEAST_SESSIONS, min(MOST_SESSIONS, fitting))


def configuration(settings: Settings, where: Where, *, memory_bytes: int = 0) -> str:
    """The whole configuration."""
    mailboxes, ports = settings.mailboxes, open_ports(settings, where.ports)
    return "\n".join(
        (
            _global(settings, where),
            _PROTOCOLS,
            _services(settings, ports, where, sessions(memory_bytes)),
            _users(where),
            _folders(settings),
            _QUOTA.format(
                size=f"{mailboxes.quota_bytes}B" if mailboxes.quota_bytes else "unlimited",
                warnings="".join(
                    _WARNING.format(percent=percent) for percent in QUOTA_WARNINGS_PERCENT
                ),
            ),
            dovecot_sieve.configuration(
                rendered=where.rendered,
                scripts=where.scripts,
                relay=where.relay,
                spam_to_junk=mailboxes.spam_to_junk,
            ),
            _SEARCH if mailboxes.full_text_search else "",
        )
    )


def sign_in_form(settings: Settings) -> str:
    """Dovecot's expression that takes one of our domains off a name.

    A name in a domain of somebody else stays as it is, and is nobody's.
    """
    domains = (settings.mail.main_domain, *settings.mail.additional_domains)
    spelt = sorted({domain for domain in domains if domain})
    if not spelt:
        return "%{user | lower}"
    # Dovecot reads a backslash in quotes for itself; [.] needs none. An empty replacement would
    # replace nothing.
    either = "|".join(re.sub(r"([^a-z0-9-])", r"[\1]", name) for name in spelt)
    return f"%{{user | lower | regexp('^(.*)@({either})$', '\\\\1')}}"


def _global(settings: Settings, where: Where) -> str:
    return _GLOBAL.format(
        where=where,
        mail_user=MAIL_USER,
        sign_in_form=sign_in_form(settings),
        hostname=settings.mail.hostname or "localhost",
        domain=settings.mail.main_domain or settings.mail.hostname or "localhost",
        fts="  fts = yes\n  fts_flatcurve = yes\n" if settings.mailboxes.full_text_search else "",
        policy=_POLICY.format(policy=where.policy) if where.policy else "",
    )


def _services(settings: Settings, ports: Ports, where: Where, most: int) -> str:
    return _SERVICES.format(
        ports=ports,
        scripts=where.scripts,
        config=where.rendered / FILE,
        host=settings.mail.main_domain or settings.mail.hostname or "localhost",
        mail_user=MAIL_USER,
        lmtp_group=LMTP_GROUP,
        sessions=most,
        logins=2 * most,
        connections=4 * most + 400,  # what Dovecot reckons for its other services
    )


def _users(where: Where) -> str:
    """The app passwords first: they are long and random, so a fast hash does for them."""
    app = "".join(_APP.format(number=number, users=where.users) for number in _app_numbers())
    return (
        _NOT_IN_THE_CLEAR.format(path=where.rendered / CLEAR_FILE)
        + app
        + _USERS.format(users=where.users)
    )


def _app_numbers() -> range:
    return range(1, APP_PASSWORDS + 1)


def _folders(settings: Settings) -> str:
    days = {"Trash": settings.mailboxes.trash_days, "Junk": settings.mailboxes.junk_days}
    boxes = "".join(
        _FOLDER.format(
            name=name,
            expire=f"    autoexpunge = {days[name]}d\n" if days.get(name) else "",
        )
        for name in FOLDERS
    )
    return f"namespace inbox {{\n  inbox = yes\n  separator = /\n{boxes}}}\n"


_GLOBAL = """\
# Made by Pennypost from its settings; do not edit.
dovecot_config_version = 2.4.1
dovecot_storage_version = 2.4.1
base_dir = {where.base}
log_path = {where.log}
log_timestamp = ""
listen = {where.listen}
hostname = {hostname}
postmaster_address = postmaster@{domain}
login_greeting = {hostname} ready

# Nobody sends a password in the clear, not even from this machine.
ssl = required
auth_allow_cleartext = no
ssl_server_cert_file = {where.certificate}
ssl_server_key_file = {where.key}
ssl_min_protocol = TLSv1.2

auth_mechanisms = plain login
auth_username_format = {sign_in_form}
auth_failure_delay = 2 secs
auth_cache_size = 0
{policy}
mail_uid = {mail_user}
mail_gid = {mail_user}
first_valid_uid = 1
mail_home = {where.mail}/homes/%{{user}}
mail_driver = maildir
mail_path = ~/Maildir
mail_utf8_extensions = yes
mail_max_userip_connections = 20
mail_log_prefix = "%{{protocol}}(%{{user}})<%{{process:pid}}><%{{session}}>: "
recipient_delimiter = +
lmtp_add_received_header = no
quota_full_tempfail = yes
quota_storage_grace = 0
mail_plugins {{
  quota = yes
{fts}}}
"""

_POLICY = """\
auth_policy_server_url = http://{policy}/
auth_policy_hash_nonce = pennypost
auth_policy_check_after_auth = no
auth_policy_request_attributes {{
  login = %{{requested_username}}
  remote = %{{remote_ip}}
  protocol = %{{protocol}}
}}
"""

# All of them always: on a reload Dovecot does not make the folders that a protocol's log-in
# processes need, so one switched on later would be dead. The ports say who is let in.
_PROTOCOLS = """\
protocols {
  imap = yes
  pop3 = yes
  lmtp = yes
  sieve = yes
}
protocol imap {
  mail_plugins {
    imap_quota = yes
    imap_sieve = yes
  }
}
protocol lmtp {
  # The relay forgets a letter at our 250: it has to be on the disk by then.
  mail_fsync = always
  mail_plugins {
    sieve = yes
  }
}
"""

_SERVICES = """\
service imap-login {{
  inet_listener imap {{
    port = {ports.imap}
  }}
  inet_listener imaps {{
    port = {ports.imaps}
    ssl = yes
  }}
  process_min_avail = 1
  restart_request_count = unlimited
  process_limit = 4
  client_limit = {logins}
}}
service pop3-login {{
  inet_listener pop3 {{
    port = {ports.pop3}
  }}
  inet_listener pop3s {{
    port = {ports.pop3s}
    ssl = yes
  }}
  restart_request_count = unlimited
  process_limit = 4
  client_limit = {logins}
}}
service managesieve-login {{
  inet_listener sieve {{
    port = {ports.sieve}
  }}
  restart_request_count = unlimited
  process_limit = 4
  client_limit = {logins}
}}
service imap {{
  process_limit = {sessions}
}}
service pop3 {{
  process_limit = {sessions}
}}
service auth {{
  client_limit = {connections}
}}
service anvil {{
  client_limit = {connections}
}}
service lmtp {{
  unix_listener lmtp {{
    path = lmtp
    mode = 0660
    group = {lmtp_group}
  }}
  process_limit = 20
}}
service quota-warning {{
  executable = script {scripts}/bin/quota-warning {config} {host}
  user = {mail_user}
  unix_listener quota-warning {{
    user = {mail_user}
    mode = 0600
  }}
}}
"""

# Dovecot holds a talk within one address for safe, and would take a password there without TLS.
# What it knows of the connection is looked up as if it was a name, and who is found is refused.
_NOT_IN_THE_CLEAR = """\
passdb in-the-clear {{
  driver = passwd-file
  deny = yes
  auth_username_format = secured=%{{secured}}
  passwd_file_path = {path}
}}
"""
_CLEAR = "secured=:\nsecured=secured:\n"

_APP = """\
passdb app-{number} {{
  driver = passwd-file
  passwd_file_path = {users}/app-{number}
}}
"""

_USERS = """\
passdb passwd-file {{
  passwd_file_path = {users}/users
}}
userdb passwd-file {{
  passwd_file_path = {users}/users
}}
"""

_FOLDER = """\
  mailbox {name} {{
    special_use = \\{name}
    auto = subscribe
{expire}  }}
"""

_QUOTA = """\
quota user {{
  driver = count
  storage_size = {size}
{warnings}}}
"""

_WARNING = """\
  warning at-{percent} {{
    quota_storage_percentage = {percent}
    execute quota-warning {{
      args = {percent} %{{user}} %{{home}} %{{userdb:pp_language}}
    }}
  }}
"""

_SEARCH = """\
fts flatcurve {
}
fts_autoindex = yes
language en {
  default = yes
}
language_tokenizers = generic email-address
language_tokenizer_generic_algorithm = simple
language_filters = lowercase
"""
