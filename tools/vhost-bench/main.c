// SPDX-License-Identifier: GPL-2.0
/* vhost-bench: play the guest of a vhost or vhost-vDPA device, without a guest */
#include <string.h>

#include "guest.h"

int main(int argc, char **argv)
{
	const char *path = argc > 1 ? argv[1] : "/dev/vhost-net";
	struct guest *g;
	uint64_t features = 0;
	int ret;

	ret = guest_open(&g, path, strstr(path, "blk") ? GUEST_BLK : GUEST_NET);
	if (!ret)
		ret = guest_features(g, &features);
	if (ret)
		fprintf(stderr, "vhost-bench: %s\n", guest_error(g));
	else
		printf("%s: %s dialect, offers %#llx\n", path, g->ops->name,
		       (unsigned long long)features);
	guest_close(g);
	return ret ? 1 : 0;
}
