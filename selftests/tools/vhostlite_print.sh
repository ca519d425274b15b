#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# usage: [VHOSTLITE=PROGRAM] selftests/tools/vhostlite_print.sh
#
# The command line of vhostlite: what --print shows, which uses it refuses and how it says so, and
# what info shows of a machine. Opens no node and changes nothing; prints TAP.
set -uo pipefail

# shellcheck source-path=SCRIPTDIR disable=SC1091
. "$(dirname "${BASH_SOURCE[0]}")/tap.bash"
back=()

net=tap,id=vhlnet0
nic=virtio-net-pci,id=vhlnic0,netdev=vhlnet0
disk=vhost-vdpa-device-pci,id=vhldisk0,vhostdev=/dev/fdset

echo "TAP version 13"

# ---- commands ----
prints net_one_queue "qemu -netdev $net,fd=3,vhost=on,vhostfd=4 -device $nic" --net nosuchtap --print -- qemu
prints net_equals_sign "qemu -netdev $net,fd=3,vhost=on,vhostfd=4 -device $nic" --net=nosuchtap --print -- qemu
prints net_three_queues \
	"qemu -netdev $net,fds=3:5:7,vhost=on,vhostfds=4:6:8 -device $nic,mq=on,vectors=8" \
	--net nosuchtap,queues=3 --print -- qemu
prints net_all_options \
	"qemu -netdev $net,fds=3:5,vhost=on,vhostfds=4:6 -device $nic,mq=on,vectors=6,mac=52:54:00:ab:CD:ef,bootindex=2" \
	--print --net nosuchtap,bootindex=2,mac=52:54:00:ab:CD:ef,queues=2 -- qemu
prints net_last_value_counts "qemu -netdev $net,fd=3,vhost=on,vhostfd=4 -device $nic,bootindex=1" \
	--print --net nosuchtap,queues=2,bootindex=7,queues=1,bootindex=1 -- qemu
prints disk "qemu -add-fd fd=3,set=100,opaque=/d.raw -device $disk/100" --print --disk /d.raw -- qemu
prints disk_all_options "qemu -add-fd fd=3,set=100,opaque=/d.raw -device $disk/100,bootindex=0" \
	--print --disk /d.raw,ro,direct=on,queues=16,blocksize=4096,discard=off,format=raw,serial=12345678901234567890,bootindex=0 -- qemu
prints disk_limits "qemu -add-fd fd=3,set=100,opaque=a -device $disk/100" --print --disk \
	a,iops=1,iops-total-max=2,iops-max-length=3,bps-read=4,throttling.bps-write=5,throttling.bps-write-max=6,iops-size=7 -- qemu
prints net_and_disks \
	"qemu -m 1G -netdev $net,fd=3,vhost=on,vhostfd=4 -device $nic -netdev tap,id=vhlnet1,fd=5,vhost=on,vhostfd=6 -device virtio-net-pci,id=vhlnic1,netdev=vhlnet1 -add-fd fd=7,set=100,opaque=a -device $disk/100 -add-fd fd=8,set=101,opaque=b -device vhost-vdpa-device-pci,id=vhldisk1,vhostdev=/dev/fdset/101" \
	--print --disk a --net nosuchtap --disk b --net nosuchtap1 -- qemu -m 1G
prints fdset_of_the_user "qemu -add-fd fd=0,set=100 --add-fd set=0x65,fd=0 -add-fd fd=3,set=102,opaque=a -device $disk/102" \
	--print --disk a -- qemu -add-fd fd=0,set=100 --add-fd set=0x65,fd=0
prints fdset_unlike_the_users "qemu -add-fd fd=0,set=1000 -device x,set=100 -add-fd fd=3,set=100,opaque=a -device $disk/100" \
	--print --disk a -- qemu -add-fd fd=0,set=1000 -device x,set=100
exec 3</dev/null
prints descriptor_in_use "qemu -netdev $net,fd=4,vhost=on,vhostfd=5 -device $nic" --print --net nosuchtap -- qemu
exec 3<&-
prints print_behind_command "qemu --print -h --net x -add-fd fd=3,set=100,opaque=a -device $disk/100" \
	--disk a --print -- qemu --print -h --net x
prints two_dashes_of_the_command "sh -- x -add-fd fd=3,set=100,opaque=a -device $disk/100" --disk a --print -- sh -- x

# ---- quoting ----
prints commas_doubled "qemu -add-fd fd=3,set=100,opaque=a,,b -device $disk/100" --print --disk a,,b -- qemu
prints comma_then_option "qemu -add-fd fd=3,set=100,opaque=a,, -device $disk/100" --print --disk a,,,ro -- qemu
# shellcheck disable=SC2016 # meant to be taken as it is
prints spaces_and_quotes "qemu '' 'a b' 'it'\\''s' '\$x' '*' -add-fd 'fd=3,set=100,opaque=my disk' -device $disk/100" \
	--print --disk 'my disk' -- qemu '' 'a b' "it's" '$x' '*'
prints equals_in_name "qemu -add-fd fd=3,set=100,opaque=a=b -device $disk/100" --print --disk a=b -- qemu

# What is printed, read by a shell, are the same words again
# shellcheck disable=SC1003,SC2016 # meant to be taken as it is
words=(qemu $'new\nline' "'" "''" '"' '\' '`id`' '!x' '~' '#' 'ü' '-k' $'\t')
vhostlite run --disk a --print -- "${words[@]}"
eval "back=($out)"
[[ ${#back[@]} -eq $((${#words[@]} + 4)) && ${back[*]:0:${#words[@]}} == "${words[*]}" ]]
result $? shell_reads_it_back

# ---- wrong use ----
says no_command_word 2 "no command 'start'" start
says run_without_dashes 2 "put the command behind --" run --disk a qemu-system-x86_64 -m 1G
says run_without_command 2 "no command" run --disk a --
says run_ends_early 2 "no command" run --disk a
says run_nothing_to_add 2 "give --net or --disk" run -- qemu
says run_unknown_option 2 "unknown option '--disc'" run --disc a -- qemu
says run_net_without_value 2 "--net wants a value" run --net
says run_disk_without_value 2 "--disk wants a value" run --disk -- qemu
refuses net_empty "name of the interface is missing" --net ''
refuses net_no_name "name of the interface is missing" --net ,queues=2
refuses net_name_too_long "cannot be the name of an interface" --net abcdefghijklmnop
refuses net_name_is_path "cannot be the name of an interface" --net ../x
refuses net_unknown_key "unknown option 'queue' (there are: queues, mac, bootindex)" --net t,queue=2
refuses net_key_without_value "queues= wants a value" --net t,queues
refuses net_empty_value "queues= wants a value" --net t,queues=
refuses net_queues_0 "queues= wants a number of 1..16" --net t,queues=0
refuses net_queues_17 "queues= wants a number of 1..16" --net t,queues=17
refuses net_queues_negative "queues= wants a number" --net t,queues=-1
refuses net_queues_word "queues= wants a number" --net t,queues=2x
refuses net_queues_huge "queues= wants a number" --net t,queues=18446744073709551617
refuses net_mac_short "mac= wants" --net t,mac=52:54:00:12:34
refuses net_mac_long "mac= wants" --net t,mac=52:54:00:12:34:56:78
refuses net_mac_multicast "mac= wants a unicast address" --net t,mac=53:54:00:12:34:56
refuses net_comma_at_end "an option is empty" --net t,
refuses disk_empty "name of the file is missing" --disk ''
refuses disk_unknown_key "unknown option 'readonly' (there are: ro, " --disk a,readonly
refuses disk_ro_word "ro= wants on or off" --disk a,ro=yes
refuses disk_direct_alone "direct= wants a value" --disk a,direct
refuses disk_queues_17 "queues= wants a number of 1..16" --disk a,queues=17
refuses disk_format_qcow2 "format= wants raw" --disk a,format=qcow2
refuses disk_format_alone "format= wants a value" --disk a,format
refuses disk_serial_too_long "serial= wants at most 20 bytes" --disk a,serial=123456789012345678901
refuses disk_serial_empty "serial= wants a value" --disk a,serial=
refuses disk_blocksize_not_power "blocksize= wants 512, 1024, 2048 or 4096" --disk a,blocksize=1536
refuses disk_blocksize_8192 "blocksize= wants a number of 512..4096" --disk a,blocksize=8192
refuses disk_discard_word "discard= wants on or off" --disk a,discard=unmap
refuses disk_iops_word "iops= wants a number of 0..1000000000000000" --disk a,iops=many
refuses disk_bps_alone "bps-read= wants a number" --disk a,bps-read
refuses disk_bps_too_many "bps-total= wants a number" --disk a,bps-total=1000000000000001
refuses disk_limit_unknown "unknown option 'iops-all' (there are: ro, " --disk a,iops-all=1
refuses disk_burst_unknown "unknown option 'throttling.bps-min'" --disk a,throttling.bps-min=1
refuses disk_burst_alone "iops-read-max= wants iops-read= as well" --disk a,iops-read-max=5
refuses disk_burst_too_small "iops-total-max=3 is less than iops-total=5" --disk a,iops=5,iops-max=3
refuses disk_length_alone "bps-write-max-length= wants bps-write-max= as well" --disk a,bps-write=5,bps-write-max-length=3
refuses disk_length_too_long "bps-total-max-length=1000000000000000 is too long" \
	--disk a,bps=5,bps-max=10,bps-max-length=1000000000000000
refuses disk_bootindex_word "bootindex= wants a number" --disk a,bootindex=first
says info_unknown 2 "unknown argument '--yaml'" info --yaml
says info_w_alone 2 "-w wants a number of seconds" info -w
says info_w_zero 2 "not a number of seconds" info -w 0
says resize_alone 2 "wants the number of one device" resize
says resize_word 2 "not the number of a device" resize disk.raw
says limit_alone 2 "wants the number of a device" limit
says limit_word 2 "not the number of a device" limit disk.raw off
says limit_no_value 2 "'iops' is neither OPTION=VALUE nor off" limit 1 iops
says limit_no_number 2 "'bps=1M' wants a number" limit 1 off bps=1M
says limit_unknown 2 "unknown option 'queues'" limit 1 queues=2

# ---- what can be said before anything is opened ----
says tap_missing 1 "nosuchtap: no such interface, make it with: ip tuntap add dev nosuchtap mode tap vnet_hdr" \
	run --net nosuchtap -- true
says tap_missing_multi_queue 1 "mode tap vnet_hdr multi_queue" run --net nosuchtap,queues=2 -- true
says tap_is_none 1 "lo: neither a TAP nor a macvtap" run --net lo -- true
says disk_missing 1 "$tmp/none: No such file or directory" run --disk "$tmp/none" -- true
says disk_is_directory 1 "$tmp: neither a regular file nor a block device" run --disk "$tmp" -- true
says disk_is_device 1 "/dev/null: neither a regular file nor a block device" run --disk /dev/null -- true
: >"$tmp/small"
says disk_too_small 1 "$tmp/small: empty; give it a size first" run --disk "$tmp/small" -- true
says resize_not_open 1 "device 18446744073709551615: not open" resize 18446744073709551615
says limit_not_open 1 "device 18446744073709551615: not open" limit 18446744073709551615 iops=1

if [[ -e /dev/vdpa-blklite || -e /dev/vhost-netlite ]]; then
	skip node_missing "the module is loaded here"
else
	printf '%01024d' 0 >"$tmp/disk,1"
	says node_missing 1 "/dev/vdpa-blklite: no such node, load it with: modprobe vhost_blklite" \
		run --disk "$tmp/disk,,1" -- true
fi

# ---- help, info ----
vhostlite --version
[[ $status -eq 0 && $out =~ ^vhostlite\ [0-9]+\.[0-9]+ && -z $err ]]
result $? version
vhostlite run --help
[[ $status -eq 0 && $out == "usage: vhostlite run"* && -z $err ]]
result $? help
! grep -q ' $' "$tmp/out"
result $? help_without_trailing_spaces
vhostlite
[[ $status -eq 2 && -z $out && $err == "usage: "* ]]
result $? no_arguments

vhostlite info
[[ $status -eq 0 && $out == MODULE* && $out == *vhost_blklite* && $out == */dev/vdpa-blklite* ]]
result $? info_table
! grep -q -E '^.{100}' "$tmp/out"
result $? info_below_100_columns

vhostlite info --json
[[ $status -eq 0 && $out == '{"monotonic":'*'"modules":['*'"nodes":['*'"devices":['*']}' && $out != *$'\n'* ]]
result $? info_json

"$prog" info >/dev/full 2>"$tmp/err"
status=$? out='' err=$(<"$tmp/err")
[[ $status -eq 1 && $err == *"cannot write to stdout"* ]]
result $? info_disk_full

finish
