"""Filters (Sieve, RFC 5228) in dovecot.conf: people's own, and those of the box.

The box files as junk what the relay calls junk, and shows the spam filter what people move to
the junk folder and out of it (IMAPSieve, RFC 6785). What a filter sends (a holiday notice, a
forward) goes to the relay by a socket of its own: there is no sendmail on the box.
"""

from pathlib import Path

from appliance.render.mailbox_folders import folder_name, languages

# RFC 8579: the folder is found by its use, whatever its language calls it.
_SPAM = """\
require ["fileinto", "special-use", "mailbox"];
if header :is "X-Spam-Action" "junk" {
    fileinto :specialuse "\\\\Junk" :create "Junk";
}
"""
_LEARN_SPAM = """\
require ["vnd.dovecot.pipe", "copy"];
if size :under 1M {
    pipe :copy :try "learn" ["spam", "{learn}"];
}
"""
# What goes from the junk folder to the trash is spam still.
_LEARN_HAM = """\
require ["vnd.dovecot.pipe", "copy", "imapsieve", "environment", "variables", "special-use"];
if environment :matches "imap.mailbox" "*" {
    set "folder" "${1}";
}
if not specialuse_exists "${folder}" "\\\\Trash" {
    if size :under 1M {
        pipe :copy :try "learn" ["ham", "{learn}"];
    }
}
"""
SPAM_FILE = "spam.sieve"
NAMES = (SPAM_FILE, "learn-spam.sieve", "learn-ham.sieve")


def files(learn: Path) -> dict[str, str]:
    """The box's own filters; `learn` is the spam filter's socket."""
    learning = (text.replace("{learn}", str(learn)) for text in (_LEARN_SPAM, _LEARN_HAM))
    return dict(zip(NAMES, (_SPAM, *learning), strict=True))


def configuration(*, rendered: Path, scripts: Path, relay: Path, spam_to_junk: bool) -> str:
    """The lines. The `files` lie in `rendered`; `relay` is the socket for what filters send."""
    text = _SIEVE.format(rendered=rendered, scripts=scripts, relay=relay)
    # Where a letter comes from is told by the folder's name, where it goes to by what it is.
    for junk in sorted({folder_name("Junk", language) for language in languages()}):
        text += _FROM_JUNK.format(rendered=rendered, junk=junk)
    return text + (_TO_JUNK.format(path=rendered / SPAM_FILE) if spam_to_junk else "")


# A bounce of a forward goes to who forwards; to the sender, SPF would take it for a forgery.
_SIEVE = """\
sendmail_path = {scripts}/bin/sieve-mail {relay}
sieve_redirect_envelope_from = recipient
sieve_plugins {{
  sieve_imapsieve = yes
  sieve_extprograms = yes
}}
sieve_extensions {{
  special-use = yes
}}
sieve_global_extensions {{
  vnd.dovecot.pipe = yes
}}
sieve_pipe_bin_dir = {scripts}/sieve
sieve_pipe_exec_timeout = 6 secs
sieve_script personal {{
  driver = file
  path = ~/sieve
  active_path = ~/.dovecot.sieve
}}
mailbox Junk {{
  sieve_script learn-spam {{
    type = before
    cause = copy
    driver = file
    path = {rendered}/learn-spam.sieve
    bin_path = ~/.sieve-made
  }}
}}
"""

_FROM_JUNK = """\
imapsieve_from {junk} {{
  sieve_script learn-ham {{
    type = before
    cause = copy
    driver = file
    path = {rendered}/learn-ham.sieve
    bin_path = ~/.sieve-made
  }}
}}
"""

_TO_JUNK = """\
sieve_script spam {{
  type = before
  driver = file
  path = {path}
  bin_path = ~/.sieve-made
}}
"""
