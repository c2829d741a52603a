#!/bin/sh
# Finishes a root tree from inside, once its packages and rootfs/ are in place:
# users, kernel modules, start-up archive. Runs as root in a chroot, perhaps under
# emulation, so it does each slow thing once.
set -eu

systemd-sysusers

kernel=$(basename "$(echo /boot/vmlinuz-*)" | sed 's/^vmlinuz-//')
depmod "$kernel"
update-initramfs -c -k "$kernel"

mkdir -p /boot/slot
mv "/boot/vmlinuz-$kernel" /boot/slot/vmlinuz
mv "/boot/initrd.img-$kernel" /boot/slot/initrd.img
for family in broadcom rockchip; do
    if [ -d "/usr/lib/linux-image-$kernel/$family" ]; then
        mkdir -p /boot/slot/dtb
        cp -r "/usr/lib/linux-image-$kernel/$family" /boot/slot/dtb/
    fi
done
rm -rf "/usr/lib/linux-image-$kernel" /boot/config-* /boot/System.map-* /boot/initrd.img* \
    /boot/vmlinuz* /vmlinuz* /initrd.img*
