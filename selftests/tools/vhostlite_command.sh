#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# usage: [VHOSTLITE=PROGRAM] selftests/tools/vhostlite_command.sh
#
# What vhostlite run makes of the command that it is given: its machine, -snapshot, a question of libvirt's. Opens no node
# and changes nothing; prints TAP.
set -uo pipefail

# shellcheck source-path=SCRIPTDIR disable=SC1091
. "$(dirname "${BASH_SOURCE[0]}")/tap.bash"

pci=vhost-vdpa-device-pci,id=vhldisk0,vhostdev=/dev/fdset/100
mmio=vhost-vdpa-device,id=vhldisk0,vhostdev=/dev/fdset/100
fd="-add-fd fd=3,set=100,opaque=a -device"

echo "TAP version 13"

# ---- the bus ----
# on NAME DEVICE WORD…: with the command qemu WORD… the disk is DEVICE
on() {
	local name=$1 device=$2

	shift 2
	prints "$name" "qemu $* $fd $device" --disk a --print -- qemu "$@"
}
on bus_not_said $pci -m 1G
on bus_of_q35 $pci -M q35
on bus_of_microvm $mmio -M microvm
on bus_of_microvm_two_dashes $mmio --machine microvm,acpi=on
on bus_of_microvm_by_type $mmio -machine acpi=on,type=microvm
on bus_of_microvm_pcie $pci -M microvm,pcie=on
on bus_of_microvm_pcie_off $mmio -M microvm,pcie=off
on bus_of_microvm_pcie_auto $mmio -M microvm,pcie=auto
on bus_of_microvm_pcie_without_acpi $mmio -M microvm,pcie=on,acpi=off
on bus_of_several_machines $pci -M microvm -machine pcie=on
on bus_of_the_last_machine $pci -M microvm -M q35
on bus_of_the_last_machine_too $mmio -M none -M microvm
on bus_unlike_microvm $pci -M microvms
on bus_of_a_name $pci -name microvm,pcie=on
on bus_of_a_property $pci -M q35,x-oem-id=microvm
on bus_machine_at_the_end $pci -M
prints bus_mmio "vm $fd $mmio" --disk a --bus mmio --print -- vm
prints bus_pci "qemu -M microvm $fd $pci" --disk a --bus=pci --print -- qemu -M microvm
prints bus_mmio_net \
	"qemu -M microvm -netdev tap,id=vhlnet0,fds=3:5,vhost=on,vhostfds=4:6 -device virtio-net-device,id=vhlnic0,netdev=vhlnet0,mq=on,mac=52:54:00:00:00:01" \
	--net nosuchtap,queues=2,mac=52:54:00:00:00:01 --print -- qemu -M microvm
refuses bus_unknown "--bus isa: there are: pci, mmio" --disk a --bus isa
refuses bus_alone "--bus wants a value" --disk a --bus

# ---- libvirt asks its <emulator> what it can do, as a user who may open nothing: no file, no TAP, no node is there ----
question=(-S -no-user-config -nodefaults -nographic -machine "none,accel=kvm:tcg" -daemonize)
vhostlite run --disk "$tmp/none" --net nosuchtap -- echo "${question[@]}"
[[ $status -eq 0 && $out == "${question[*]}" && -z $err ]]
result $? machine_none_runs "${question[*]}"
if ! type qemu-system-x86_64 >/dev/null 2>&1; then
	skip machine_none_of_qemu "no QEMU here"
else
	((UID)) || VIA=(setpriv --reuid 65534 --regid 65534 --clear-groups)
	chmod 755 "$tmp"
	install -m 755 "$prog" "$tmp/vhostlite"
	printf '%s\n' '{"execute":"qmp_capabilities"}' '{"execute":"query-machines"}' '{"execute":"quit"}' |
		timeout 60 ${VIA[@]+"${VIA[@]}"} "$tmp/vhostlite" run --disk "$tmp/none" --net nosuchtap -- qemu-system-x86_64 \
			-S -no-user-config -nodefaults -nographic -machine none,accel=tcg -qmp stdio >"$tmp/out" 2>"$tmp/err"
	status=$? out=$(<"$tmp/out") err=$(<"$tmp/err") VIA=()
	[[ $status -eq 0 && $out == *'"name": "none"'* ]]
	result $? machine_none_of_qemu "the machines that QEMU knows"
fi
prints machine_none_printed "qemu -M none" --disk a --net nosuchtap --print -- qemu -M none
prints machine_none_whatever_the_bus "qemu -M none" --disk a --bus pci --print -- qemu -M none
prints machine_none_and_snapshot "qemu -M none -snapshot" --disk a --print -- qemu -M none -snapshot

# ---- -snapshot ----
for word in -snapshot --snapshot; do
	says "snapshot_$word" 2 "from writing to a,b; give it as --disk a,,b,ro, or a copy" run --print --disk a,,b -- qemu "$word"
done
says snapshot_second_disk 2 "from writing to b;" run --print --disk a,ro --disk b -- qemu -snapshot -m 1G
says snapshot_before_all_else 2 "from writing to $tmp/none;" run --disk "$tmp/none" -- true -snapshot
prints snapshot_read_only "qemu -snapshot $fd $pci" --print --disk a,ro -- qemu -snapshot
prints snapshot_no_disk "qemu -snapshot -netdev tap,id=vhlnet0,fd=3,vhost=on,vhostfd=4 -device virtio-net-pci,id=vhlnic0,netdev=vhlnet0" \
	--print --net nosuchtap -- qemu -snapshot
prints snapshot_unlike "qemu -drive snapshot=on,file=x -snapshots $fd $pci" \
	--print --disk a -- qemu -drive snapshot=on,file=x -snapshots

finish
