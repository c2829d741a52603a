# shellcheck shell=sh
# Puts the running slot in doubt: it becomes unconfirmed with few tries left, so
# that the boot loader comes to the other slot when this one fails again.
#
# Used where Python cannot: by the initrd when the root does not mount, and by
# the emergency unit. Same file format as appliance/upkeep/bootstate.py.

# The newest whole block of a folder: env0 or env1; empty when there is none.
newest_block() {
	best=-1
	for name in env0 env1; do
		sed -n '1,/^END=ok$/p' "$1/$name" 2>/dev/null | grep -qx 'END=ok' || continue
		seq=$(sed -n 's/^SEQ=\([0-9][0-9]*\)$/\1/p' "$1/$name")
		[ -n "$seq" ] && [ "$seq" -gt "$best" ] && best=$seq && block=$name
	done
	[ "$best" -ge 0 ] && echo "$block"
}

# doubt FOLDER SLOT TRIES: FOLDER holds env0 and env1, SLOT is a or b.
doubt() {
	# In the initrd and so early in a start nothing but /run can be written.
	draft=${PENNYPOST_DRAFT:-/run/pennypost-env}
	upper=$(echo "$2" | tr ab AB)
	from=$(newest_block "$1") || return 1
	if [ "$from" = env0 ]; then to=env1; else to=env0; fi
	seq=$(sed -n 's/^SEQ=//p' "$1/$from")
	{
		echo '# GRUB Environment Block'
		echo "SEQ=$((seq + 1))"
		sed -n '2,/^END=ok$/p' "$1/$from" | grep -vE "^(SEQ|END|${upper}_OK|${upper}_TRY)="
		echo "${upper}_OK=0"
		echo "${upper}_TRY=$3"
		echo 'END=ok'
	} >"$draft"
	size=$(wc -c <"$draft")
	awk -v n="$((1024 - size))" 'BEGIN { while (n-- > 0) printf "#" }' >>"$draft"
	# In place: the file keeps its one cluster, and only the older copy changes.
	dd if="$draft" of="$1/$to" bs=1024 count=1 conv=notrunc,fsync 2>/dev/null
	rm -f "$draft"
}

# Slot of the running kernel: a or b; empty when the loader did not say.
booted_slot() {
	sed -n 's/.*pennypost\.slot=\([ab]\).*/\1/p' /proc/cmdline
}
