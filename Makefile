# SPDX-License-Identifier: GPL-2.0
# Wraps kbuild and the convenience targets; what a module is made of is in Kbuild.

KDIR ?= /lib/modules/$(shell uname -r)/build
PREFIX ?= /usr/local
# headers and lib.mk of the kernel's tools/testing/selftests; the test host has them here
KSELFTEST ?= /usr/src/kselftest

export KDIR PREFIX KSELFTEST

all: modules tools $(if $(wildcard $(KSELFTEST)/lib.mk),selftests)

modules:
	$(MAKE) -C $(KDIR) M=$(CURDIR) modules

# The backends were once installed with an underscore. To modprobe that is the same name, and it may take the old file
modlib = $(INSTALL_MOD_PATH)/lib/modules/$(shell $(MAKE) -s --no-print-directory -C $(KDIR) kernelrelease)

modules_install:
	$(MAKE) -C $(KDIR) M=$(CURDIR) modules_install
	rm -f $(foreach dir,$(or $(INSTALL_MOD_DIR),extra updates),\
		$(modlib)/$(dir)/vhost_netlite.ko* $(modlib)/$(dir)/vhost_blklite.ko*)
	-depmod

tools:
	$(MAKE) -C tools/vhostlite
	$(MAKE) -C tools/vhost-bench
	$(MAKE) -C tools/bench

install: modules_install
	$(MAKE) -C tools/vhostlite install
	$(MAKE) -C tools/vhost-bench install
	$(MAKE) -C tools/bpftrace install
	install -D -m 644 uapi/linux/vhost_lite.h $(DESTDIR)$(PREFIX)/include/linux/vhost_lite.h

# kselftest programs, the backend that they load, and a program of the end-to-end tests
selftests: nullback tools
	$(MAKE) -C selftests
	$(MAKE) -C selftests/e2e

nullback: modules
	$(MAKE) -C $(KDIR) M=$(CURDIR)/selftests/nullback KBUILD_EXTRA_SYMBOLS=$(CURDIR)/Module.symvers modules

test:
	tools/vm/deps
	selftests/run

# the tests on the kernels and QEMUs of all releases, and docs/kernels.md anew: an hour and more. RELEASE="NAME ..." and
# SUITE="NAME ..." only these
test-all:
	tools/vm/deps
	selftests/kernels/run $(addprefix --release ,$(RELEASE)) $(SUITE)

# docs/benchmarks.md anew: us and others, half an hour; CASE="NAME ..." only these, to the terminal; SMP=N on N processors
bench:
	tools/vm/deps
	tools/bench/run $(if $(SMP),--smp $(SMP)) $(CASE)

# everything: an hour or two
bench-full:
	tools/vm/deps
	tools/bench/run --full $(if $(SMP),--smp $(SMP)) $(CASE)

demo:
	tools/vm/deps
	tools/demo/run

clean:
	-$(MAKE) -C $(KDIR) M=$(CURDIR) clean
	-$(MAKE) -C $(KDIR) M=$(CURDIR)/selftests/nullback clean
	$(MAKE) -C tools/vhostlite clean
	$(MAKE) -C tools/vhost-bench clean
	$(MAKE) -C tools/bench clean
	$(MAKE) -C selftests clean
	$(MAKE) -C selftests/e2e clean

.PHONY: all modules modules_install tools install selftests nullback test test-all bench bench-full demo clean
