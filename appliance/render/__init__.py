"""Configuration as a pure function of settings and facts, and its safe application.

What lies in /run/pennypost/rendered, and who reads it:

    relay.json, web.json       our own daemons
    nginx.conf                 nginx -c (the unit gives the folder /run/pennypost-nginx for its
                               pid and temporary files)
    nftables.conf              nft -f
    unbound.conf               unbound -c (-d -p by the unit)
    rspamd.conf, rspamd.on     rspamd -c, while it is on
    dovecot.conf, dovecot.on   dovecot -c, while mailboxes are kept; spam.sieve files spam
    timesyncd.conf             drop-in of systemd-timesyncd
    hostname, hosts, localtime, resolv.conf, issue     by their links in /etc
    authorized_keys, sshd.conf                         sshd and its drop-in folder
    avahi-daemon.conf, avahi-pennypost.service         avahi
    relay.on                   exists once the box has an owner: the relay runs
    mail.on, ssh.on            exist while those are switched on; units look for these with
                               ConditionPathExists=
"""
