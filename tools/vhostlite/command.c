// SPDX-License-Identifier: GPL-2.0
/*
 * What COMMAND says to QEMU that concerns us. It may be a program that passes its words on to one,
 * so words are looked for anywhere in it; QEMU takes an option with one dash or two.
 */
#include <stdlib.h>
#include <string.h>

#include "vhostlite.h"

static bool is_option(const char *word, const char *name)
{
	if (*word != '-')
		return false;
	word += word[1] == '-' ? 2 : 1;
	return !strcmp(word, name);
}

/* The value of KEY=VALUE in a field that ends with a comma or the string, or NULL */
static const char *value_of(const char *field, const char *key)
{
	size_t len = strlen(key);

	return !strncmp(field, key, len) && field[len] == '=' ? field + len + 1 : NULL;
}

static bool is_value(const char *value, const char *want)
{
	size_t len = strlen(want);

	return value && !strncmp(value, want, len) && (!value[len] || value[len] == ',');
}

static const char *next_in_list(const char *field)
{
	field = strchr(field, ',');
	return field ? field + 1 : NULL;
}

struct machine {
	bool microvm, none;
	bool pcie, no_acpi;
};

/* QEMU merges several -machine; the last word on something counts */
static void add_machine(struct machine *m, const char *list)
{
	for (const char *f = list; f; f = next_in_list(f)) {
		const char *type = value_of(f, "type"), *on;

		/* the key of the first one may be left out */
		if (f == list && f[strcspn(f, "=,")] != '=')
			type = f;
		if (type) {
			m->microvm = is_value(type, "microvm");
			m->none = is_value(type, "none");
		}
		on = value_of(f, "pcie");
		if (on)
			m->pcie = is_value(on, "on");
		on = value_of(f, "acpi");
		if (on)
			m->no_acpi = is_value(on, "off");
	}
}

enum bus command_bus(char *const *command)
{
	struct machine m = { 0 };

	for (; command[0] && command[1]; command++)
		if (is_option(command[0], "M") || is_option(command[0], "machine"))
			add_machine(&m, command[1]);
	if (m.none)
		return BUS_NONE;
	/* a microvm's PCI Express bus is described by ACPI alone */
	return m.microvm && (!m.pcie || m.no_acpi) ? BUS_MMIO : BUS_PCI;
}

bool command_wants_snapshot(char *const *command)
{
	for (; *command; command++)
		if (is_option(*command, "snapshot"))
			return true;
	return false;
}

bool command_changes_user(char *const *command)
{
	for (; command[0] && command[1]; command++) {
		if (is_option(command[0], "runas"))
			return true;
		if (!is_option(command[0], "run-with"))
			continue;
		for (const char *f = command[1]; f; f = next_in_list(f))
			if (value_of(f, "user"))
				return true;
	}
	return false;
}

bool command_has_fdset(char *const *command, unsigned int id)
{
	for (; command[0] && command[1]; command++) {
		if (!is_option(command[0], "add-fd"))
			continue;
		for (const char *f = command[1]; f; f = next_in_list(f)) {
			const char *set = value_of(f, "set");

			if (set && strtoull(set, NULL, 0) == id)
				return true;
		}
	}
	return false;
}
