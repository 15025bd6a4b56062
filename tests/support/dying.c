/* dying.c -- see dying.h. */
#include "support/dying.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define WITH_ASAN 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__)
#define WITH_ASAN 1
#endif

#ifdef WITH_ASAN
/* From <sanitizer/...>, which not every compiler has. */
size_t __sanitizer_get_current_allocated_bytes(void);
void __lsan_disable(void);
#endif

jmp_buf *dying_to;
char dying_words[512];

NORETURN void __wrap_die(const char *format, ...) PRINTF(1, 2);

NORETURN void __wrap_die(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(dying_words, sizeof(dying_words), format, args);
    va_end(args);
    if (!dying_to) {
        fprintf(stderr, "unexpected die(): %s\n", dying_words);
        abort();
    }
    jmp_buf *to = dying_to;
    dying_to = NULL;
    longjmp(*to, 1);
}

size_t dying_heap(void)
{
#ifdef WITH_ASAN
    return __sanitizer_get_current_allocated_bytes();
#else
    return 0;
#endif
}

void dying_leaks(void)
{
#ifdef WITH_ASAN
    __lsan_disable();
#endif
}
