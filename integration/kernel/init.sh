#!/bin/busybox sh
# The guest's first process: modules, network, and a shell on the second serial
# port, which the test talks to. There is no default route: the guest reaches
# qemu's own network and nothing else.
/bin/busybox --install -s /bin
export PATH=/bin

mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
for module in /modules/*; do
	insmod "$module"
done

ip link set lo up
ip addr add 10.0.2.15/24 dev eth0
ip link set eth0 up
until [ "$(cat /sys/class/net/eth0/carrier)" = 1 ]; do
	sleep 0.1
done

exec 3<>/dev/ttyS1
stty -F /dev/ttyS1 raw -echo
echo ready >&3
# Without a terminal for its output the shell neither prompts nor echoes.
# Commands write to descriptor 3.
sh <&3 >/dev/null 2>&1
