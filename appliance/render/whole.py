"""`render`: the whole configuration of a box as a pure function of its settings and facts."""

from appliance.render import daemons, dovecot, network, nftables, nginx, rspamd, system, unbound
from appliance.render.facts import Facts
from appliance.settings.schema import Settings


def render(settings: Settings, facts: Facts, *, revision: int = 0) -> dict[str, bytes]:
    """File name to content, for one folder. In a checkout only our own daemons are configured."""
    files = daemons.render(settings, facts, revision=revision)
    if not facts.dev:
        files |= network.render(settings)
        files |= nginx.render(settings, facts)
        files |= nftables.render(settings, facts)
        files |= unbound.render(settings, facts)
        files |= rspamd.render(settings, facts)
        files |= dovecot.render(settings, facts)
        files |= system.render(settings, facts)
    return files
