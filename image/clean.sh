#!/bin/sh
# clean.sh TREE DAYS: takes out of a root tree what is secret, what would be the same on
# every device, and what a build leaves behind. Runs outside the tree.
# DAYS is the date for password entries (days since 1970).
set -eu
tree=$1
days=$2
cd "$tree"

# Made anew on each device.
rm -f etc/ssh/ssh_host_*_key etc/ssh/ssh_host_*_key.pub var/lib/systemd/random-seed
rm -f var/lib/systemd/credential.secret var/lib/dbus/machine-id
rm -f etc/unbound/unbound_control.* etc/unbound/unbound_server.*
rm -rf etc/ssl/private/ssl-cert-snakeoil.key etc/ssl/certs/ssl-cert-snakeoil.pem
# The link to it, named by a hash of the build host's name.
find etc/ssl/certs -type l -lname ssl-cert-snakeoil.pem -delete
: >etc/machine-id

# aiosmtpd's package brings its tests, with two private keys that are on every device.
rm -rf usr/lib/python3/dist-packages/aiosmtpd/tests

# rspamd's web interface and its libraries: the box has pages of its own.
rm -rf usr/share/rspamd/www usr/share/javascript usr/share/nodejs

# Left by the build or by the host.
rm -f etc/resolv.conf.* etc/apt/sources.list etc/apt/sources.list.d/* var/lib/dpkg/*-old
rm -f etc/passwd- etc/group- etc/shadow- etc/gshadow- etc/subuid- etc/subgid- etc/.pwd.lock
rm -f etc/dpkg/dpkg.cfg.d/99mmdebstrap etc/apt/apt.conf.d/99mmdebstrap usr/sbin/policy-rc.d
rm -rf var/lib/apt/lists var/cache/apt var/cache/debconf var/cache/ldconfig
find var/log -type f -delete
rm -rf tmp/* var/tmp/* run/* root/.cache var/lib/systemd/catalog/database
[ -s etc/hostname ] && grep -qx pennypost etc/hostname || echo pennypost >etc/hostname
if [ ! -L etc/resolv.conf ]; then : >etc/resolv.conf; fi

# Written or left empty depending on whether the *host* runs AppArmor.
if [ -d etc/apparmor.d/local ]; then
    find etc/apparmor.d/local -type f -exec sh -c ': >"$1"' sh {} \;
fi

# The day a password was set is the day of the build.
sed -i -E "s/^([^:]*:[^:]*):[0-9]*:/\1:$days:/" etc/shadow
