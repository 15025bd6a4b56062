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
    volatile uint8_t *at = memory;
    for (size_t i = 0; i < size; i++) {
        at[i] = 0;
    }
}
