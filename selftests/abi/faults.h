/* SPDX-License-Identifier: GPL-2.0 */
/* Fault injection, for the programs fault_*.c */
#ifndef FAULTS_H
#define FAULTS_H

#include <stdbool.h>

#define NO_FAULTS	"this kernel has no fault injection (tools/vm/run --debug-kernel has)"

/* Every kind of fault, in what would sleep for memory too. Return: 0 if the kernel has it */
int faults_begin(void);
void faults_end(void);

/*
 * Set what the workers of this process meet: one allocation in @percent of a hundred fails.
 * Return: how many workers there are.
 */
int faults_of_workers(unsigned int percent);

#endif /* FAULTS_H */
