#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# usage: [VHOSTLITE=PROGRAM] selftests/tools/vhostlite_disk.sh
#
# What vhostlite disk says of arguments that cannot be right, before it opens a node. Prints TAP.
set -uo pipefail

# shellcheck source-path=SCRIPTDIR disable=SC1091
. "$(dirname "${BASH_SOURCE[0]}")/tap.bash"

echo "TAP version 13"

truncate -s 1M "$tmp/disk.raw"
long=0123456789abcdef0123456789abcdef

# wrong NAME STATUS MESSAGE ARGUMENT…
wrong() {
	local name=$1 want=$2 text=$3

	shift 3
	says "$name" "$want" "$text" disk "$@"
}
wrong no_verb 2 "disk wants one of: add, del, list, resize, swap, limit, restore"
wrong unknown_verb 2 "disk: no 'remove' (there are: add," remove vm1
wrong add_without_file 2 "disk add wants a name and a file" add vm1
wrong add_too_much 2 "disk add wants a name and a file" add vm1 "$tmp/disk.raw" ro
wrong add_empty_name 2 "disk '': a name has 1 to 31 letters" add '' "$tmp/disk.raw"
wrong add_long_name 2 "disk '$long': a name has 1 to 31 letters" add "$long" "$tmp/disk.raw"
wrong add_bootindex 2 "unknown option 'bootindex' (there are: ro, direct, queues, blocksize, discard, format, serial, user, group, mode; limits: " \
	add vm1 "$tmp/disk.raw,bootindex=1"
wrong add_mode 2 "mode= wants permissions like 0660" add vm1 "$tmp/disk.raw,mode=rw"
wrong add_mode_octal 2 "mode= wants permissions like 0660" add vm1 "$tmp/disk.raw,mode=680"
wrong add_mode_large 2 "mode= wants permissions like 0660" add vm1 "$tmp/disk.raw,mode=4755"
wrong add_no_group 1 "group=nosuchgroup: there is no such group" add vm1 "$tmp/disk.raw,group=nosuchgroup"
wrong add_no_user 1 "user=nosuchuser: there is no such user" add vm1 "$tmp/disk.raw,user=nosuchuser"
wrong add_no_file 1 "$tmp/none: No such file or directory" add vm1 "$tmp/none"
wrong add_device 1 "/dev/null: neither a regular file nor a block device" add vm1 /dev/null
wrong del_without_name 2 "disk del wants a name" del
wrong del_two 2 "disk del: unknown argument 'b'" del a b
wrong del_option 2 "disk del: unknown argument '-f'" del -f a
wrong list_argument 2 "disk list: unknown argument 'vm1' (there is: --json)" list vm1
wrong resize_without_name 2 "disk resize wants one name" resize
wrong swap_without_file 2 "disk swap wants a name and a file" swap vm1
wrong swap_options 2 "options other than ro, direct and format are those of the disk" swap vm1 "$tmp/disk.raw,queues=2"
wrong limit_without_name 2 "disk limit wants a name" limit
wrong add_burst_alone 2 "iops-total-max= wants iops-total= as well" add vm1 "$tmp/disk.raw,iops-max=5"
wrong swap_limits 2 "options other than ro, direct and format are those of the disk" swap vm1 "$tmp/disk.raw,iops=2"
wrong restore_two 2 "disk restore wants one file at most" restore a b
wrong restore_no_file 1 "$tmp/none: No such file or directory" restore "$tmp/none"
printf '# nothing\n\n   \n' >"$tmp/empty"
vhostlite disk restore "$tmp/empty"
[[ $status -eq 0 && -z $out$err ]]
result $? restore_nothing ""
printf 'vm1\n' >"$tmp/short"
wrong restore_no_value 1 "$tmp/short:1: disk vm1: its file is missing (a line is: NAME FILE[,OPTION…])" restore "$tmp/short"
says run_on_a_name 1 "/dev/vhost-lite/nosuch: No such file or directory" run --disk /dev/vhost-lite/nosuch -- true

finish
