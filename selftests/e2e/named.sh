#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# usage: selftests/e2e/named.sh
#
# Disks that have a name, opened by path by stock QEMU, in TAP. To be run in the test host with the guest image:
#   tools/vm/run --share "$(selftests/guest/mkguest)" -- selftests/e2e/named.sh
# shellcheck disable=SC2317 # functions are called by check
# shellcheck disable=SC2016 # what is in single quotes is expanded in the guest
set -u
# shellcheck source-path=SCRIPTDIR disable=SC1091
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source-path=SCRIPTDIR disable=SC1091
. "$(dirname -- "${BASH_SOURCE[0]}")/disklib.sh"

need_device vhost-vdpa-device-pci
modules_load vhost-blklite
NODE=/dev/vhost-lite/vm1
one=$WORK/one.img two=$WORK/two.img fast=$WORK/fast.img
truncate -s 32M "$one" "$two" "$fast"

# refused WORD STATUS COMMAND…: it fails with STATUS, and says WORD
refused() {
	local word=$1 want=$2 said status

	shift 2
	said=$("$@" 2>&1)
	status=$?
	same "status ($said)" "$want" "$status" || return
	[[ $said == *"$word"* ]] || { echo "it says: $said" && return 1; }
}

# ---- the command ----
check "a disk is added" vhostlite disk add vm1 "$one,queues=2,serial=first,group=kvm,mode=0660"
node_as_asked() {
	same "owner and mode" "root:kvm 660" "$(stat -c '%U:%G %a' "$NODE")" &&
		same "size" $((32 << 20)) "$(disk_is vm1 size)" && same "holder" 0 "$(disk_is vm1 holder)"
}
check "its node is as asked" node_as_asked
check "a name is given once" refused "there is one already" 1 vhostlite disk add vm1 "$two"
check "a file that another disk writes to is refused" refused "another vhostlite run or QEMU writes to it" 1 vhostlite disk add vm2 "$one"
check "an unknown option is refused" refused "unknown option 'bootindex'" 2 vhostlite disk add vm2 "$two,bootindex=1"
check "an unknown disk is refused" refused "there is none of that name" 1 vhostlite disk del vm9
restored() {
	printf '# disks\n\nvm1 %s\n vm2  %s,ro\nvm3 /no/such/file\nvm4\n' "$one" "$two" >"$WORK/disks.conf"
	refused "/no/such/file: No such file" 1 vhostlite disk restore "$WORK/disks.conf" &&
		same "the one that was there" 2 "$(disk_is vm1 queues)" && same "the new one" true "$(disk_is vm2 read_only)" &&
		same "disks" 2 "$(vhostlite disk list | grep -c '^vm')" && vhostlite disk del vm2
}
check "disks are made as a file names them; what is wrong in it stops no other" restored

# ---- by path ----
guest_start a -device "vhost-vdpa-device-pci,vhostdev=$NODE" -smp 2
say "a guest boots whose QEMU opens $NODE"
check "a guest boots" guest_ready a
check "it has the disk" guest a 20 'test "$(cat /sys/block/vda/serial)" = first'
held() {
	same "holder" "${GUEST_PID[a]}" "$(disk_is vm1 holder)" &&
		refused "it is open" 1 vhostlite disk del vm1 && refused "in use by another process" 1 vhostlite run --disk "$NODE" -- true
}
check "it is nobody else's, and does not go away" held
verified() {
	local before

	before=$(disk_is vm1 reqs)
	guest "$1" 240 "fio --name=v --filename=/dev/vda --ioengine=libaio --iodepth=16 --direct=1 --thread --rw=randwrite --bs=4k --size=4M \
		--verify=crc32c --do_verify=1 --verify_fatal=1 >/tmp/fio.log 2>&1 || { cat /tmp/fio.log; exit 1; }" || return
	(($(disk_is vm1 reqs) - before >= 1500)) || { echo "requests: $before before, $(disk_is vm1 reqs) now" && return 1; }
}
check "data is verified, on vhost-lite" verified a
resized() {
	truncate -s 48M "$one"
	vhostlite disk resize vm1 && wait_for 20 guest a 10 'test "$(cat /sys/block/vda/size)" = 98304'
}
check "it grows, and the guest sees it" resized

# from one file to another and back, the second a copy of the first that is made while nothing is written
swapped() {
	local round

	truncate -s 48M "$two"
	io_start a 8
	for round in 1 2 3 4; do
		guest a 20 'kill -STOP $(pidof fio); sleep 1; sync' || return
		if ((round % 2)); then
			cp "$one" "$two" && vhostlite disk swap vm1 "$two" || return
		else
			cp "$two" "$one" && vhostlite disk swap vm1 "$one" || return
		fi
		guest a 20 'kill -CONT $(pidof fio); sleep 2' || return
	done
	io_end a
}
check "it goes over to another file and back under verified I/O" swapped
check "no request has failed" same errors 0 "$(disk_is vm1 errors)"

# ---- its VMM dies ----
died() {
	local before

	before=$(disk_is vm1 reqs)
	guest a 30 'dd if=/dev/urandom of=/tmp/d bs=64k count=4 2>/dev/null; dd if=/tmp/d of=/dev/vda bs=64k oflag=direct conv=fsync 2>/dev/null' || return
	(guest a 60 'dd if=/dev/vda of=/dev/null bs=4k iflag=direct') >/dev/null 2>&1 &
	sleep 1
	guest_end a KILL
	wait
	wait_for 10 same holder 0 "$(disk_is vm1 holder)" && (($(disk_is vm1 reqs) > before))
}
check "QEMU is killed under I/O, the disk and its counters stay" died
check "and can be opened" wait_for 20 same "holder" 0 "$(disk_is vm1 holder)"

# ---- through QEMU's block layer, as libvirt has <disk type='vhostvdpa'> ----
# whatever else it says of a node that is not there
if qemu-system-x86_64 -M none -nodefaults -display none -blockdev driver=virtio-blk-vhost-vdpa,node-name=x,path=/none,cache.direct=on 2>&1 |
	grep -q "Unknown driver\|invalid value\|Unable to load"; then
	skip "QEMU's block layer opens the node" "this QEMU has no virtio-blk-vhost-vdpa (Debian: qemu-block-extra)"
	guest_start b -device "vhost-vdpa-device-pci,vhostdev=$NODE"
	second="a second guest boots from the node"
else
	guest_start b -object "memory-backend-memfd,id=mem,size=$GUEST_MEM,share=on" -machine memory-backend=mem \
		-blockdev "driver=virtio-blk-vhost-vdpa,node-name=d,path=$NODE,cache.direct=on" -device virtio-blk-pci,drive=d
	second="a guest whose QEMU opens the node in its block layer"
fi
check "$second" guest_ready b
check "it has what the one before has written, and what it writes is verified" verified b

# ---- it is taken away ----
forced() {
	vhostlite disk del --force vm1 && [[ ! -e $NODE ]] || return
	guest b 60 '! dd if=/dev/vda of=/dev/null bs=4k count=1 iflag=direct 2>/dev/null' || { echo "no error"; return 1; }
	guest b 20 'echo alive' && alive b
}
check "by force, while it is open: the guest gets errors, and goes on" forced
check "its name is free" vhostlite disk add vm1 "$fast,direct=off"
guest_end b
check "it goes when nobody has it open" vhostlite disk del vm1
check "nothing holds the module" wait_for 10 no_users vhost_blklite

finish
