// SPDX-License-Identifier: GPL-2.0
/* What the host has: modules and nodes. */
#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vhostlite.h"

static void scan_module(struct module_info *m, const char *name)
{
	char *path = xasprintf("/sys/module/%s", name);

	*m = (struct module_info){ .name = name, .loaded = !access(path, F_OK) };
	free(path);
	if (!m->loaded)
		return;
	m->version = read_line("/sys/module/%s/version", name);
	m->srcversion = read_line("/sys/module/%s/srcversion", name);
	m->refcnt = read_line("/sys/module/%s/refcnt", name);
}

static void scan_node(struct node_info *n, const char *path)
{
	const struct passwd *pw;
	const struct group *gr;
	struct stat st;

	*n = (struct node_info){ .path = path };
	if (stat(path, &st))
		return;
	n->present = true;
	n->mode[0] = S_ISCHR(st.st_mode) ? 'c' : '?';
	for (int bit = 0; bit < 9; bit++)
		n->mode[1 + bit] = st.st_mode & (0400 >> bit) ? "rwx"[bit % 3] : '-';
	pw = getpwuid(st.st_uid);
	n->owner = pw ? xstrdup(pw->pw_name) : xasprintf("%u", (unsigned int)st.st_uid);
	gr = getgrgid(st.st_gid);
	n->group = gr ? xstrdup(gr->gr_name) : xasprintf("%u", (unsigned int)st.st_gid);
}

void scan_host(struct host_info *host)
{
	static const char *const modules[NUM_MODULES] = {
		"vhost_lite", "vhost_netlite", "vhost_blklite",
	};
	static const char *const nodes[NUM_NODES] = { NODE_NET, NODE_BLK, NODE_VDPA_BLK };

	for (int i = 0; i < NUM_MODULES; i++)
		scan_module(&host->modules[i], modules[i]);
	for (int i = 0; i < NUM_NODES; i++)
		scan_node(&host->nodes[i], nodes[i]);
}

void free_host(struct host_info *host)
{
	for (int i = 0; i < NUM_MODULES; i++) {
		free(host->modules[i].version);
		free(host->modules[i].srcversion);
		free(host->modules[i].refcnt);
	}
	for (int i = 0; i < NUM_NODES; i++) {
		free(host->nodes[i].owner);
		free(host->nodes[i].group);
	}
}
