/* dying.h -- a process that ends itself, in a test that goes on.
 *
 * Programs that link with this (DYING_TESTS in the Makefile) have their own
 * die(): it jumps back to where the process was started. A must() that fails
 * is still the end of the test. What the dead process had in memory is lost
 * to the test too, unless it can be closed: LeakSanitizer must be told with
 * dying_leaks(), and a process that lived compares dying_heap() instead. */
#ifndef CRAFTD_TESTS_DYING_H
#define CRAFTD_TESTS_DYING_H

#include <setjmp.h>

#include "base/base.h"

/* Where die() goes; NULL: nobody expects it, and the test has failed. */
extern jmp_buf *dying_to;
/* Its sentence. */
extern char dying_words[512];

/* What is on the heap now, in bytes; 0 without AddressSanitizer. */
size_t dying_heap(void);
/* From now on nothing that is left behind is reported. */
void dying_leaks(void);

#endif
