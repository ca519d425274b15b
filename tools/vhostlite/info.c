// SPDX-License-Identifier: GPL-2.0
/* vhostlite info: modules, nodes, open devices and their counters. */
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "vhostlite.h"

struct info_opts {
	bool json;
	unsigned int interval;	/* seconds, 0: once */
};

static void parse_command_line(struct info_opts *opts, int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		const char *value;
		uint64_t n;

		if (!strcmp(argv[i], "--json")) {
			opts->json = true;
			continue;
		}
		if (strncmp(argv[i], "-w", 2))
			die(EXIT_USAGE, "info: unknown argument '%s' (there are: --json, "
			    "-w SECONDS)", argv[i]);
		value = argv[i] + 2;
		if (!*value) {
			if (++i >= argc)
				die(EXIT_USAGE, "info: -w wants a number of seconds");
			value = argv[i];
		}
		if (!parse_number(value, 1, 86400, &n))
			die(EXIT_USAGE, "info: -w %s: not a number of seconds (1..86400)", value);
		opts->interval = (unsigned int)n;
	}
}

/* One look: @prev is NULL the first time */
static void show(const struct info_opts *opts, const struct device_list *list,
		 const struct device_list *prev)
{
	struct host_info host;

	if (prev && !opts->json) {
		char now[16] = "";
		time_t t = time(NULL);
		struct tm tm;

		if (localtime_r(&t, &tm))
			strftime(now, sizeof(now), "%H:%M:%S", &tm);
		printf("\n---- %s, per second ----\n", now);
		print_table(NULL, list, prev);
		return;
	}
	scan_host(&host);
	if (opts->json)
		print_json(&host, list);
	else
		print_table(&host, list, NULL);
	free_host(&host);
	if (!prev && list->denied)
		say("note: only your own processes are shown, %u belong to others (run it as root "
		    "to see all)", list->denied);
}

int cmd_info(int argc, char **argv)
{
	struct device_list prev, list;
	struct info_opts opts = { 0 };

	parse_command_line(&opts, argc, argv);
	scan_devices(&list);
	show(&opts, &list, NULL);
	while (opts.interval && !fflush(stdout)) {
		sleep(opts.interval);
		prev = list;
		scan_devices(&list);
		show(&opts, &list, &prev);
		free_devices(&prev);
	}
	free_devices(&list);
	return 0;
}
