/* dudect.h -- whether the time of a call depends on its input.
 *
 * Method: dudect (Reparaz, Balasch, Verbauwhede: "Dude, is my code constant
 * time?", 2016). Two classes of input in random order, the time of each call,
 * the slowest tenth cut off (interrupts), and Welch's t of the two samples:
 * over 10 there is a leak, under it none that so many samples show. A machine
 * with other work can make a t of 10 by chance, but not again and again, so one
 * of some attempts is enough; code that stops early has a t in the thousands in
 * each of them. */
#ifndef CRAFTD_SUPPORT_DUDECT_H
#define CRAFTD_SUPPORT_DUDECT_H

#include "base/base.h"

enum { DUDECT_T_MAX = 10 };

/* |t| of call(0) against call(1): the least of some attempts, the last of which
 * is the first under DUDECT_T_MAX. */
double dudect(void (*call)(int class));

#endif
