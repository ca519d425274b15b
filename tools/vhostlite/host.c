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

/* Nodes with their modules; those of a module are next to each other */
static const struct {
	const char *path;
	const char *module;
} nodes[] = {
	{ NODE_NET,		"vhost_netlite" },
	{ NODE_BLK,		"vhost_blklite" },
	{ NODE_VDPA_BLK,	"vhost_blklite" },
	{ NODE_CONTROL,		"vhost_blklite" },
};

#define NUM_NODES	(sizeof(nodes) / sizeof(nodes[0]))

_Static_assert(NUM_NODES <= MAX_NODES, "they are shown in struct host_info");

const char *module_of(const char *node)
{
	for (size_t i = 0; i < NUM_NODES; i++) {
		if (!strcmp(nodes[i].path, node))
			return nodes[i].module;
	}
	return "vhost_lite";
}

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
	host->num_modules = 0;
	host->num_nodes = 0;
	scan_module(&host->modules[host->num_modules++], "vhost_lite");
	for (size_t i = 0; i < NUM_NODES; i++) {
		if (!i || strcmp(nodes[i].module, nodes[i - 1].module))
			scan_module(&host->modules[host->num_modules++], nodes[i].module);
		scan_node(&host->nodes[host->num_nodes++], nodes[i].path);
	}
}

void free_host(struct host_info *host)
{
	for (unsigned int i = 0; i < host->num_modules; i++) {
		free(host->modules[i].version);
		free(host->modules[i].srcversion);
		free(host->modules[i].refcnt);
	}
	for (unsigned int i = 0; i < host->num_nodes; i++) {
		free(host->nodes[i].owner);
		free(host->nodes[i].group);
	}
}
