// SPDX-License-Identifier: GPL-2.0
/* vhost-bench: play the guest of a vhost or vhost-vDPA device, without a guest */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench.h"

static struct bench bench;

/* Setting up or stopping took too long: an ioctl that does not come back */
static void too_long(int sig)
{
	static const char before[] = "vhost-bench: stuck while ", after[] = "\n";
	const char *phase = bench.phase;
	ssize_t n;

	(void)sig;
	n = write(STDERR_FILENO, before, sizeof(before) - 1);
	n = write(STDERR_FILENO, phase, strlen(phase));
	n = write(STDERR_FILENO, after, sizeof(after) - 1);
	(void)n;
	_exit(1);
}

int main(int argc, char **argv)
{
	struct opts opt;
	bool done, ok;
	int ret;

	ret = opts_parse(&opt, argc, argv, &done);
	if (done)
		return ret;
	bench_init(&bench, &opt);
	signal(SIGALRM, too_long);

	ok = !(opts_is_net(&opt) ? net_case(&bench) : blk_case(&bench));
	alarm(0);
	if (!opts_each(&opt) || !ok)
		report(&bench, ok);
	for (unsigned int i = 0; i < bench.nguests; i++)
		guest_close(bench.guest[i]);
	if (fflush(stdout) || ferror(stdout)) {
		perror("vhost-bench: standard output");
		ok = false;
	}
	return ok ? 0 : 1;
}
