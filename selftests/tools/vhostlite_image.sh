#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# usage: [VHOSTLITE=PROGRAM] selftests/tools/vhostlite_image.sh
#
# Which files vhostlite run takes for raw disks. Images are made by qemu-img and the packers themselves where they are
# there, and by hand. Attaches nothing; prints TAP.
set -uo pipefail

# shellcheck source-path=SCRIPTDIR disable=SC1091
. "$(dirname "${BASH_SOURCE[0]}")/tap.bash"

# takes NAME FILE[,OPTION…] [NOTE]: goes on to the node; says NOTE, or nothing
takes() {
	local name=$1 note=${3-}

	vhostlite run --disk "$2" -- true
	err=$(sed '/: no such node, load it with:/d; /: permission denied: run vhostlite as root/d; /has no O_DIRECT/d' <<<"$err")
	[[ $status -le 1 && -z $out ]] && if [[ $note ]]; then [[ $err == *"note: ${2%%,*}: "*"$note"* ]]; else [[ -z $err ]]; fi
	result $? "$name" "taken: $note"
}

# refused NAME FILE MESSAGE: not taken, but with format=raw
refused() {
	says "$1" 1 "$3" run --disk "$2" -- true
	takes "$1, format=raw" "$2,format=raw"
}

# file NAME SIZE [OFFSET BYTES]…: prints the path of a file of zeroes with BYTES (as printf takes them) at OFFSET; an OFFSET
# below 0 counts from the end
file() {
	local path=$tmp/$1 size=$2 at

	truncate -s "$size" "$path"
	shift 2
	while (($#)); do
		at=$1
		((at >= 0)) || at=$((size + at))
		printf '%b' "$2" | dd of="$path" bs=1 seek="$at" conv=notrunc status=none
		shift 2
	done
	printf '%s' "$path"
}

echo "TAP version 13"
head -c 65536 /dev/urandom >"$tmp/random"
printf '\0' | dd of="$tmp/random" conv=notrunc status=none

# ---- as QEMU makes them ----
raw="the host kernel serves raw ones; make one with: qemu-img convert -f"
while read -r name format options; do
	if type qemu-img >/dev/null 2>&1; then
		# shellcheck disable=SC2086 # words
		qemu-img create -q -f "$format" $options "$tmp/$name" 4M >"$tmp/log" 2>&1 &&
			qemu-io -f "$format" -c "write -P 7 0 64k" "$tmp/$name" >>"$tmp/log" 2>&1
		refused "$name of qemu-img" "$tmp/$name" "$raw $format -O raw"
	else
		skip "$name of qemu-img" "no qemu-img here"
	fi
done <<END
qcow qcow
qcow2 qcow2
qcow2-compat qcow2 -o compat=0.10
qed qed
vmdk vmdk
vmdk-stream vmdk -o subformat=streamOptimized
vmdk-flat vmdk -o subformat=monolithicFlat
vdi vdi
vhdx vhdx
vpc vpc
vpc-fixed vpc -o subformat=fixed
parallels parallels
END
refused vpc_511 "$(file vpc511 1048575 -511 conectix)" "a VHD image of fixed size"
refused vmdk3 "$(file vmdk3 1048576 0 COWD)" "$raw vmdk"
refused parallels_ext "$(file parallels2 1048576 0 WithouFreSpacExt)" "$raw parallels"
refused bochs "$(file bochs 1048576 0 'Bochs Virtual HD Image')" "$raw bochs"
refused cloop "$(file cloop 1048576 0 '#!/bin/sh\n#V2.0 Format\nmodprobe cloop')" "$raw cloop"
refused dmg "$(file dmg 1048576 -512 koly)" "$raw dmg"

# ---- packed ----
for how in gzip xz zstd; do
	if type $how >/dev/null 2>&1; then
		$how -c <"$tmp/random" >"$tmp/$how"
		refused "$how" "$tmp/$how" "$how data, not a raw image; unpack it with: $how -d"
	else
		skip "$how" "no $how here"
	fi
done
refused bzip2 "$(file bzip2 4096 0 'BZh91AY&SY')" "unpack it with: bzip2 -d"
refused lz4 "$(file lz4 4096 0 '\x04\x22\x4d\x18')" "unpack it with: lz4 -d"
tar -C "$tmp" -cf "$tmp/ova" random
refused tar "$tmp/ova" "unpack it with: tar -xf"
refused zip "$(file zip 4096 0 'PK\x03\x04')" "unpack it with: unzip"
refused 7z "$(file 7z 4096 0 '7z\xbc\xaf\x27\x1c')" "unpack it with: 7z x"
refused sparse "$(file sparse 4096 0 '\x3a\xff\x26\xed\x01\x00\x00\x00')" "unpack it with: simg2img"
says comma_in_name 1 "--disk $tmp/a,,b,format=raw" run --disk "$(file a,b 4096 0 'QFI\xfb' | sed 's/,/,,/g')" -- true
says read_only_too 1 "a qcow2 image" run --disk "$(file ro 4096 0 'QFI\xfb'),ro" -- true

# ---- what is a disk ----
takes zeroes "$(file zeroes 1048576)"
takes noise "$tmp/random"
takes boot_sector "$(file mbr 1048576 0 '\xeb\x63\x90' 510 '\x55\xaa')"
takes luks "$(file luks 1048576 0 'LUKS\xba\xbe\x00\x02')"
takes iso "$(file iso 1048576 32769 CD001)"
takes magic_elsewhere "$(file elsewhere 1048576 512 'QFI\xfb' -1024 conectix 1 'vhdxfile' 65 '\x7f\x10\xda\xbe')"
takes magic_cut_short "$(file short 1048576 0 'QFI\xfa')"
takes smallest "$(file smallest 512 0 '\xeb')"
takes conectix_at_512 "$(file c1024 1024 0 '\xeb' 500 conectix)"

# ---- a GPT on blocks of another size ----
gpt512=$(file gpt512 1048576 512 'EFI PART')
gpt4k=$(file gpt4k 1048576 4096 'EFI PART')
takes gpt "$gpt512"
takes gpt_asked_for "$gpt4k,blocksize=4096"
takes gpt_of_4096 "$gpt4k" "made on blocks of 4096 bytes, the guest will see 512 and no partitions; blocksize=4096"
takes gpt_of_512 "$gpt512,blocksize=4096" "made on blocks of 512 bytes, the guest will see 4096"
takes gpt_of_2048 "$(file gpt2k 1048576 2048 'EFI PART'),ro" "made on blocks of 2048 bytes, the guest will see 512"
takes gpt_of_both "$(file gptboth 1048576 512 'EFI PART' 4096 'EFI PART'),blocksize=4096"

finish
