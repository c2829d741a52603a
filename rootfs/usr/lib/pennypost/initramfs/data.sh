# shellcheck shell=sh
# The data partition, before systemd starts: made, grown, checked, mounted.
#
# Read by the initrd's scripts/local-bottom/pennypost-data. Each step can be cut
# by a power failure and is taken up again at the next start:
#   * the partition table is written in one go by sfdisk (backup first);
#   * the first megabyte of a new data partition is cleared before the partition
#     exists, so that what an earlier owner left there is never taken for ours;
#   * a file system is "data" by its label only when mke2fs has ended; until then
#     the label is "data-making" and it is made anew.
# Only the disk that holds the mounted root is ever looked at: a second disk may
# carry the same labels.

LIB=${PENNYPOST_INITRAMFS:-/usr/lib/pennypost/initramfs}
SYS=${PENNYPOST_SYS:-/sys}

say() {
	echo "pennypost: $*"
}

# Device under a mount point, as the kernel names it: vda3
mounted_device() {
	awk -v at="$1" '$2 == at { dev = $1 } END { sub(/^\/dev\//, "", dev); print dev }' /proc/mounts
}

# Disk of a partition: vda3 -> vda, mmcblk0p3 -> mmcblk0
disk_of() {
	basename "$(dirname "$(readlink -f "$SYS/class/block/$1")")"
}

# Partition of a disk by its GPT label: vda data -> vda6. From the table itself:
# the kernel knows no label of a partition that partx has told it.
partition_of() {
	/sbin/sfdisk --dump "/dev/$1" 2>/dev/null |
		sed -n "s|^/dev/\([^ ]*\) : .*name=\"$2\".*|\1|p" | grep -m 1 .
}

# Creates or grows "data" on a disk (a block device, or a file in tests).
# $2: size of the disk in 512-byte sectors.
prepare_table() {
	wanted=$(/sbin/sfdisk --dump "$1" 2>/dev/null | awk -v sectors="$2" -f "$LIB/table.awk") || return 1
	[ -n "$wanted" ] || return 0
	start=$(echo "$wanted" | sed -n 's/^start=\([0-9]*\), .*name="data"$/\1/p')
	if [ -n "$start" ]; then
		say "making the data partition"
		dd if=/dev/zero of="$1" bs=512 seek="$start" count=2048 conv=notrunc,fsync 2>/dev/null || return 1
	else
		say "growing the data partition to the end of the disk"
	fi
	said=$(echo "$wanted" | /sbin/sfdisk --no-reread --no-tell-kernel --force \
		--wipe never --wipe-partitions never "$1" 2>&1) || {
		echo "$said"
		return 1
	}
	# The root is mounted from this disk, so the kernel cannot read the table
	# anew; partx tells it the one change (and would forget the labels of all
	# partitions if it were to tell more).
	[ -b "$1" ] || return 0
	number=$(partition_of "${1#/dev/}" data | sed 's/.*[^0-9]//')
	if [ -n "$start" ]; then
		partx --add --nr "$number" "$1"
	else
		partx --update --nr "$number" "$1"
	fi
}

# Makes or checks the file system of a partition. Never formats one that
# carries something else.
prepare_file_system() {
	type=$(/sbin/blkid -p -s TYPE -o value "$1")
	label=$(/sbin/blkid -p -s LABEL -o value "$1")
	case "$type:$label" in
	: | ext4:data-making)
		say "making the data file system"
		/sbin/mke2fs -q -F -t ext4 -L data-making -m 1 -e remount-ro -J size=32 \
			-O has_journal,extent,huge_file,flex_bg,metadata_csum,64bit,dir_nlink,extra_isize \
			-E lazy_itable_init=1,nodiscard "$1" || return 1
		sync
		/sbin/tune2fs -L data "$1" >/dev/null || return 1
		sync
		;;
	ext4:*)
		# 0 clean, 1 repaired; anything else gets the thorough repair, since
		# nobody sits at this console to answer questions.
		/sbin/e2fsck -p "$1" || [ $? -eq 1 ] || {
			say "repairing the data file system"
			/sbin/e2fsck -fy "$1" || [ $? -eq 1 ] || return 1
		}
		;;
	*)
		say "the data partition carries $type, which is not ours: left alone"
		return 1
		;;
	esac
}

# Makes $1/etc/machine-id once: 32 hexadecimal digits, renamed into place.
prepare_machine_id() {
	mkdir -p "$1/etc"
	if ! grep -qxE '[0-9a-f]{32}' "$1/etc/machine-id" 2>/dev/null; then
		tr -d - </proc/sys/kernel/random/uuid >"$1/etc/machine-id.new"
		sync
		mv "$1/etc/machine-id.new" "$1/etc/machine-id"
		sync
	fi
}

# Folders that /etc/fstab binds over /var, and the upper side of /var itself.
prepare_folders() {
	mkdir -p "$1/var/log" "$1/var/lib/systemd" "$1/var/lib/unbound" "$1/pennypost"
	mkdir -p /run/pennypost-var/upper /run/pennypost-var/work
}

# Links of the boot disk's partitions under /dev/pennypost/, by label.
write_udev_rule() {
	mkdir -p /run/udev/rules.d
	echo "SUBSYSTEM==\"block\", DEVPATH==\"*/block/$1/*\", ENV{ID_PART_ENTRY_NAME}==\"?*\", SYMLINK+=\"pennypost/\$env{ID_PART_ENTRY_NAME}\"" \
		>/run/udev/rules.d/90-pennypost-slots.rules
}

prepare_data() {
	prepare_table "/dev/$1" "$(cat "$SYS/class/block/$1/size")" || {
		say "the partition table of /dev/$1 cannot be changed"
		return 1
	}
	part=$(partition_of "$1" data) || {
		say "/dev/$1 has no data partition"
		return 1
	}
	prepare_file_system "/dev/$part" || return 1
	mount -t ext4 -o rw,noatime,nosuid,nodev,noexec,errors=remount-ro "/dev/$part" "$2/data"
}

# $1: where the root is mounted. When the data cannot be used, an empty memory
# file system takes its place, so that the box comes up and can say so; nothing
# of ours starts then (ConditionPathExists=!/run/pennypost-data-failed).
start_data() {
	disk=$(disk_of "$(mounted_device "$1")")
	write_udev_rule "$disk"
	if ! prepare_data "$disk" "$1"; then
		say "THE DATA PARTITION CANNOT BE USED"
		echo "The data partition of /dev/$disk cannot be used." >/run/pennypost-data-failed
		mount -t tmpfs -o size=32m,mode=0755 tmpfs "$1/data"
	fi
	prepare_machine_id "$1/data"
	prepare_folders "$1/data"
	mount -o bind "$1/data/etc/machine-id" "$1/etc/machine-id"
}
