/* dying.h -- simulates a process that calls die(), in a test that continues.
 *
 * Programs that link with this (DYING_TESTS in the Makefile) have their own
 * die(): it jumps back to where the process was started. A must() that fails
 * still ends the test. The memory of the dead process is leaked, unless the
 * test can close it: call dying_leaks() to silence LeakSanitizer, and compare
 * dying_heap() where the process did not die. */
#ifndef CRAFTD_TESTS_DYING_H
#define CRAFTD_TESTS_DYING_H

#include <setjmp.h>

#include "base/base.h"

/* Target of die(); NULL: die() is not expected and fails the test. */
extern jmp_buf *dying_to;
/* The message of the last die(). */
extern char dying_words[512];

/* Bytes allocated on the heap; 0 without AddressSanitizer. */
size_t dying_heap(void);
/* From now on leaks are not reported. */
void dying_leaks(void);

#endif
