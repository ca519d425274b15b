# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
# shellcheck disable=SC2016 # expanded in the guest
# What tests of disks need besides lib.sh: block devices in memory, I/O in the background.

# null_disk NAME [KEY=VALUE…]: /dev/NAME of 32 MiB, its attributes as those of null_blk in configfs
null_disk() {
	local dir=/sys/kernel/config/nullb/$1 word

	mkdir "$dir" || bail "no null_blk"
	shift
	for word in size=32 memory_backed=1 "$@" power=1; do
		echo "${word#*=}" >"$dir/${word%%=*}" || bail "null_blk does not take $word"
	done
}

no_null_disks() {
	rmdir /sys/kernel/config/nullb/nullb?
}

# disk_is NAME KEY: what `vhostlite disk list` says of it; KEY may be a counter
disk_is() {
	vhostlite disk list --json | grep -o "{\"name\":\"$1\"[^}]*}" | grep -o "\"$2\":[^,}]*" | cut -d: -f2
}

# for guests: their disks by serial number, /dev/d0 and what there is in /sys as /tmp/d0
# shellcheck disable=SC2034 # used by scripts that source this
GUEST_DISKS='
for b in /sys/block/vd*; do
	ln -sf ${b##*/} /dev/$(cat $b/serial)
	ln -sfn $b /tmp/$(cat $b/serial)
done
ls -l /dev/d?
'

# By fio in the guest. Each block is read back and compared soon after it was written.

# io_start NAME [DEPTH [FILE]]: until io_end, or the disk's
io_start() {
	guest "$1" 20 "rm -f /tmp/fio.rc; (fio --name=job --filename=${3:-/dev/vda} --ioengine=libaio --iodepth=${2:-32} --direct=1 --thread \
		--rw=randwrite --bs=4k --size=32M --loops=1000000 --verify=crc32c --do_verify=1 --verify_backlog=512 --verify_fatal=1 \
		>/tmp/fio.log 2>&1; echo \$? >/tmp/fio.rc) >/dev/null 2>&1 </dev/null &"
}

# io_end NAME: it has gone on until now, and every block was what had been written
io_end() {
	guest "$1" 120 'kill -INT $(pidof fio); until test -e /tmp/fio.rc; do sleep 1; done
		grep -E "fio:|verify|err=|issued|I/O error" /tmp/fio.log; grep -q "err= 0" /tmp/fio.log && ! grep -q "verify:" /tmp/fio.log'
}
