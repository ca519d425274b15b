#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# usage: selftests/e2e/life.sh [ROUNDS]
#
# The life of a stock guest's devices, a card on /dev/vhost-netlite and a disk on /dev/vdpa-blklite, in TAP: they are
# unplugged and plugged in again, ROUNDS times (default 3), while both carry data, which are compared; what was written
# before is read back after it. To be run in the test host with the guest image:
#   tools/vm/run --share "$(selftests/guest/mkguest)" -- selftests/e2e/life.sh
# shellcheck disable=SC2016,SC2317 # what is in single quotes is expanded in the guest; functions are called by check
set -u
# shellcheck source-path=SCRIPTDIR disable=SC1091
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source-path=SCRIPTDIR disable=SC1091
. "$(dirname -- "${BASH_SOURCE[0]}")/netlib.sh"
ROUNDS=${1:-3}
# shellcheck source-path=SCRIPTDIR disable=SC1091
. "$(dirname -- "${BASH_SOURCE[0]}")/lifelib.sh"

# ---- unplugged, plugged in ----
# unplug ID: by the guest's leave
unplug() {
	qmp a device_del "{\"id\":\"$1\"}" && qmp_event a 120 "*\"DEVICE_DELETED\"*\"device\": \"$1\"*"
}
no_netdev() { qmp a netdev_del '{"id":"vhlnet0"}'; }
no_fdset() { qmp a remove-fd '{"fdset-id":100}'; }

# plug card|disk [PROPERTY…]: files that are opened here go over the monitor's socket
plug() {
	local what="--net tap1,mac=$MAC"

	[[ $1 == card ]] || what="--disk $IMAGE,serial=d0"
	# shellcheck disable=SC2086 # two words
	vhostlite run $what -- "$E2E_SRC/selftests/e2e/plug" "$WORK/plug" "${@:2}"
}

# round_0: the devices go first, what they had after them
round_0() {
	unplug vhlnic0 && users vhost-netlite 1 && same "queue of the card" stopped "$(state 1 1)" && no_netdev &&
		wait_for 20 users vhost-netlite 0 &&
		unplug vhldisk0 && users vhost-blklite 1 && no_fdset && released
}

# round_1: what they have goes first. The card loses its link at once, and our device when it goes itself (QEMU 10.0 and
# later; before, at once); the disk goes on until it is unplugged
round_1() {
	no_netdev && same "queue of the card" stopped "$(state 1 1)" && guest a 10 'grep -qx 0 /sys/class/net/n1/carrier' &&
		unplug vhlnic0 && wait_for 20 users vhost-netlite 0 && carrier 0 &&
		no_fdset && users vhost-blklite 1 && io_goes_on && unplug vhldisk0 && released
}

# round_2: what they had stays, and gets other devices: of ours they are the same
round_2() {
	local before="${DEV[*]}"

	unplug vhlnic0 && unplug vhldisk0 && users vhost-netlite 1 && users vhost-blklite 1 &&
		qmp a device_add "{\"driver\":\"virtio-net-pci\",\"id\":\"vhlnic0\",\"netdev\":\"vhlnet0\",\"mac\":\"$MAC\"}" &&
		qmp a device_add '{"driver":"vhost-vdpa-device-pci","id":"vhldisk0","vhostdev":"/dev/fdset/100"}' &&
		look && same "our devices" "$before" "${DEV[*]}"
}

# refused: a file without a disk makes no device, and QEMU goes on without it
refused() {
	local said

	said=$("$E2E_SRC/selftests/e2e/plug" "$WORK/plug" -add-fd fd=9,set=7 \
		-device vhost-vdpa-device-pci,id=none,vhostdev=/dev/fdset/7 9<>/dev/vdpa-blklite 2>&1) && return 1
	echo "$said"
	[[ $said == *"device_add: "*"No such device"* ]] && users vhost-blklite 2 &&
		qmp a remove-fd '{"fdset-id":7}' && wait_for 20 users vhost-blklite 1
}

boot "${COLD[@]}"
check "a guest boots" guest_ready a
both_work "at first"
check "a file without a disk is refused" refused
plugged=('device_del, netdev_del, remove-fd' 'netdev_del, remove-fd, device_del'
	'device_del, device_add with the same files')
for ((round = 0; round < ROUNDS; round++)); do
	kind=$((round % 3))
	when="round $round"
	load "$when"
	check "$when: ${plugged[kind]}" round_$kind
	traffic_stop
	if ((kind != 2)); then
		check "$when: a card is plugged in" plug card
		check "$when: a disk is plugged in" plug disk
	fi
	both_work "$when"
done

the_end
