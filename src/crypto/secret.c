/* secret.c -- comparing and forgetting secrets. */
#include "crypto/crypto.h"

bool crypto_equal(const void *a, const void *b, size_t size)
{
    /* volatile: the compiler may not stop at the first difference. */
    const volatile uint8_t *left = a;
    const volatile uint8_t *right = b;
    uint8_t difference = 0;
    for (size_t i = 0; i < size; i++) {
        difference |= (uint8_t)(left[i] ^ right[i]);
    }
    return difference == 0;
}

void crypto_zero(void *memory, size_t size)
{
    /* volatile: the compiler cannot know what is called, so it must call. */
    static void *(*const volatile set)(void *, int, size_t) = memset;
    if (size > 0) {
        set(memory, 0, size);
    }
}
