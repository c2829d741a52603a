# Reads `sfdisk --dump`, prints the partition table the disk should have:
# the same, plus a partition "data" from the end of the last partition to the
# end of the disk, or with "data" grown to there. Prints nothing when the table
# is right already.
#
#   awk -v sectors=N -f table.awk       N: size of the disk in 512-byte sectors
#
# Leaving out "last-lba" makes sfdisk take the disk's real end, which also moves
# the backup table there when the image was written to a larger disk.

BEGIN { unit = 2048; linux = "0FC63DAF-8483-4772-8E79-3D69D8477DE4" }

/^last-lba:/ { last = $2; next }
/^(label|label-id|first-lba|table-length|grain|unit|sector-size):/ { head = head $0 "\n"; next }

/ : start=/ {
	line = $0
	start = line; sub(/.*start= */, "", start); sub(/,.*/, "", start)
	size = line; sub(/.*size= */, "", size); sub(/,.*/, "", size)
	if (start + size > end) { end = start + size; furthest = count }
	if (line ~ /name="data"/) { data = count; data_end = start + size; seen = 1 }
	lines[count++] = line
}

END {
	# The backup table takes 33 sectors at the end of the disk.
	usable = sectors - 34
	# Room under one unit is not worth a write to the partition table.
	room = (usable + 1) - end
	moved = (last != usable)
	if (!count) exit 1
	if (!seen && room < unit) exit 2
	grow = seen && data == furthest && room >= unit
	if (seen && !grow && !moved) exit 0

	if (grow) sub(/size= *[0-9]+, */, "", lines[data])
	printf "%s\n", head
	for (i = 0; i < count; i++) print lines[i]
	if (!seen) {
		start = int((end + unit - 1) / unit) * unit
		printf "start=%d, type=%s, name=\"data\"\n", start, linux
	}
}
