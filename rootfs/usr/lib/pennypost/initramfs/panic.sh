# shellcheck shell=sh
# Ends a start that cannot go on: doubts the slot, then restarts.
#
# A confirmed slot whose root is broken would otherwise be tried for ever, since
# the boot loader counts only unconfirmed slots down.

panic() {
	echo "pennypost: $*"
	doubt_from_initrd || echo "pennypost: the slot state could not be written"
	echo "pennypost: restarting in 5 seconds"
	sleep 5
	reboot -f
	sleep 60
	exit 1
}

# Which disk: the one whose partition the command line names as root, even when
# that partition cannot be mounted.
doubt_from_initrd() {
	. /usr/lib/pennypost/initramfs/data.sh
	. /usr/lib/pennypost/initramfs/doubt.sh
	slot=$(booted_slot)
	[ -n "$slot" ] || return 1
	root=$(sed -n 's/.*\broot=\([^ ]*\).*/\1/p' /proc/cmdline)
	case "$root" in
	PARTUUID=*) root=$(readlink -f "/dev/disk/by-partuuid/${root#PARTUUID=}") ;;
	esac
	esp=$(partition_of "$(disk_of "${root#/dev/}")" esp) || return 1
	modprobe vfat 2>/dev/null
	mkdir -p /run/esp
	mount -t vfat -o rw,sync "/dev/$esp" /run/esp || return 1
	doubt /run/esp/EFI/pennypost "$slot" 0
	umount /run/esp
	sync
}
