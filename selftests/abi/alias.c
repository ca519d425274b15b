// SPDX-License-Identifier: GPL-2.0
/* /dev/vhost-net as a node of ours: vhost_netlite with alias=vhost-net */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "dut.h"

#define KERNELS	"/dev/vhost-net"

FIXTURE(alias) {
	bool had_kernels;
};

FIXTURE_SETUP(alias)
{
	self->had_kernels = module_loaded("vhost_net");
	if (self->had_kernels)
		ASSERT_EQ(0, module_unload("vhost_net"));
	ASSERT_EQ(0, module_unload("vhost-netlite"));
}

FIXTURE_TEARDOWN(alias)
{
	/* not by modprobe, which would take along what it thinks nobody wants: tun, tap */
	module_unload("vhost_net");
	if (module_loaded("vhost_netlite"))
		module_unload("vhost-netlite");
	EXPECT_EQ(0, module_load("vhost-netlite"));
	if (self->had_kernels)
		system("modprobe vhost_net");
}

TEST_F(alias, is_ours)
{
	struct dev_info info;
	struct stat st;
	uint64_t features = 0;
	int fd;

	ASSERT_EQ(0, module_load_with("vhost-netlite", "alias=vhost-net"));
	ASSERT_EQ(0, stat(KERNELS, &st));
	EXPECT_EQ(makedev(10, 238), st.st_rdev);
	fd = xopen(KERNELS);
	ASSERT_LE(0, fd);
	EXPECT_EQ(0, get_info(fd, &info));
	EXPECT_STREQ("vhost-net", info.node);
	EXPECT_EQ(0, xioctl(fd, VHOST_SET_OWNER, NULL));
	/* which no kernel offers */
	EXPECT_EQ(0, xioctl(fd, VHOST_GET_FEATURES, &features));
	EXPECT_TRUE(features & BIT(VIRTIO_F_RING_PACKED));
	EXPECT_EQ(-EAGAIN, module_unload("vhost-netlite"));
	close(fd);
	/* besides the usual one */
	fd = xopen(NODE_NET);
	EXPECT_LE(0, fd);
	close(fd);
	/* the kernel's cannot be loaded meanwhile */
	EXPECT_NE(0, system("modprobe vhost_net 2>/dev/null"));
	ASSERT_EQ(0, module_unload("vhost-netlite"));
	fd = xopen(KERNELS);
	EXPECT_TRUE(fd < 0 || module_loaded("vhost_net"));
	close(fd);
}

TEST_F(alias, taken)
{
	if (system("modprobe vhost_net 2>/dev/null"))
		SKIP(return, "this kernel has no vhost_net");
	EXPECT_EQ(-EBUSY, module_load_with("vhost-netlite", "alias=vhost-net"));
	EXPECT_FALSE(module_loaded("vhost_netlite"));
	EXPECT_NE(0, access(NODE_NET, F_OK));
	/* without it they get along */
	EXPECT_EQ(0, module_load("vhost-netlite"));
}

TEST_F(alias, unknown)
{
	EXPECT_EQ(-EINVAL, module_load_with("vhost-netlite", "alias=vhost-vsock"));
	EXPECT_NE(0, access(NODE_NET, F_OK));
}

TEST_HARNESS_MAIN
