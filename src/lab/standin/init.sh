#!/bin/busybox sh
# First program of the stand-in guest: what Linux needs, then the drivers, then the simulator.
export PATH=/bin:/sbin HOME=/
/bin/busybox mount -t devtmpfs dev /dev
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sys /sys
mkdir -p /dev/pts
mount -t devpts pts /dev/pts
mount -t tmpfs -o mode=1777 tmp /tmp
mount -t tmpfs run /run
while read -r module; do
    # A USB disk need not settle for a second.
    case "$module" in usb_storage.ko) option=delay_use=0 ;; *) option= ;; esac
    insmod "/mod/$module" $option || echo "STANDIN cannot load $module"
done < /mod/order
rm -rf /mod
ip link set lo up
esxprep standin-guest
echo "STANDIN the guest program ended with code $?"
while :; do sleep 3600; done
