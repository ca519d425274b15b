// SPDX-License-Identifier: GPL-2.0
/* The kernel's fault injection: what it is told, and what it is not to do to the test host */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "faults.h"
#include "sys.h"

static bool begun;

/*
 * Two faults in a row while a thread is made, and the kernel warns (tools/vm/complaints): the test
 * host is not to die of that.
 */
static void survive_warnings(bool yes)
{
	static const char path[] = "/proc/sys/kernel/panic_on_warn";
	static char before[16];
	FILE *f;

	if (!yes) {
		if (before[0])
			put_file(path, before);
		before[0] = 0;
		return;
	}
	f = fopen(path, "re");
	if (f && !fgets(before, sizeof(before), f))
		before[0] = 0;
	if (f)
		fclose(f);
	put_file(path, "0");
}

/* And no stack traces on the console */
int faults_begin(void)
{
	static const char * const kinds[] = { "failslab", "fail_page_alloc", "fail_usercopy" };
	char path[128];

	for (unsigned int i = 0; i < 3; i++) {
		snprintf(path, sizeof(path), "/sys/kernel/debug/%s/verbose", kinds[i]);
		if (put_file(path, "0"))
			return -ENOENT;
		snprintf(path, sizeof(path), "/sys/kernel/debug/%s/ignore-gfp-wait", kinds[i]);
		/* fail_usercopy has none */
		put_file(path, "N");
	}
	put_file("/sys/kernel/debug/fail_page_alloc/min-order", "0");
	/* what the allocator prints from here on is wanted (tools/vm/complaints) */
	put_file("/dev/kmsg", "fault injection begins\n");
	begun = true;
	return 0;
}

void faults_end(void)
{
	survive_warnings(false);
	if (begun)
		put_file("/dev/kmsg", "fault injection ends\n");
	begun = false;
}

int faults_of_workers(unsigned int percent)
{
	static const char * const kinds[] = { "failslab", "fail_page_alloc" };
	DIR *tasks = opendir("/proc/self/task");
	char path[300], text[64];
	struct dirent *t;
	int found = 0;

	survive_warnings(percent);
	for (unsigned int i = 0; i < 2; i++) {
		snprintf(path, sizeof(path), "/sys/kernel/debug/%s/task-filter", kinds[i]);
		put_file(path, "Y");
		snprintf(path, sizeof(path), "/sys/kernel/debug/%s/times", kinds[i]);
		put_file(path, "-1");
		snprintf(path, sizeof(path), "/sys/kernel/debug/%s/probability", kinds[i]);
		snprintf(text, sizeof(text), "%u", percent);
		put_file(path, text);
	}
	while (tasks && (t = readdir(tasks))) {
		FILE *f;

		snprintf(path, sizeof(path), "/proc/self/task/%s/comm", t->d_name);
		f = t->d_name[0] == '.' ? NULL : fopen(path, "re");
		if (!f)
			continue;
		if (fgets(text, sizeof(text), f) && !strncmp(text, "vhost-", 6)) {
			snprintf(path, sizeof(path), "/proc/self/task/%s/make-it-fail", t->d_name);
			found += !put_file(path, percent ? "1" : "0");
		}
		fclose(f);
	}
	if (tasks)
		closedir(tasks);
	return found;
}
