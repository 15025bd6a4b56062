/* start_relr.c -- the entry point of released programs that are
 * position-independent: it applies packed relative relocations (DT_RELR of the
 * generic ABI, a bitmap, in place of 24 bytes for each pointer), then jumps to
 * the _start of musl, which applies them itself only from 1.2.4 on, and then
 * finds none left.
 *
 * Nothing is relocated yet: no table of pointers may be used, and no function
 * of another file. It is compiled without a stack protector, which has no
 * canary yet. */
#include <elf.h>
#include <link.h>
#include <stdint.h>

enum { TAG_RELR_SIZE = 35, TAG_RELR = 36 }; /* Not in musl's elf.h of old. */

#define HIDDEN __attribute__((visibility("hidden")))
extern ElfW(Dyn) _DYNAMIC[] HIDDEN;
extern const char __ehdr_start[] HIDDEN;
void relr_apply(void) HIDDEN;

#if defined(__x86_64__)
__asm__(".globl start_relr\n"
        ".type start_relr, @function\n"
        "start_relr:\n"
        "    xor %ebp, %ebp\n"
        "    call relr_apply\n"
        "    jmp _start\n");
#else
#error "start_relr is not written for this processor"
#endif

/* An even entry is the address of a pointer to relocate; an odd one has a bit
 * for each of the pointers that follow. */
void relr_apply(void)
{
    uintptr_t base = (uintptr_t)__ehdr_start;
    const uintptr_t *entry = 0;
    uintptr_t *at = 0;
    uintptr_t size = 0;
    for (ElfW(Dyn) *dyn = _DYNAMIC; dyn->d_tag != DT_NULL; dyn++) {
        if (dyn->d_tag == TAG_RELR) {
            entry = (const uintptr_t *)(base + dyn->d_un.d_ptr);
        } else if (dyn->d_tag == TAG_RELR_SIZE) {
            size = dyn->d_un.d_val;
            dyn->d_un.d_val = 0; /* For a libc that does the same. */
        }
    }
    for (; size > 0; size -= sizeof(*entry), entry++) {
        if ((*entry & 1) == 0) {
            at = (uintptr_t *)(base + *entry);
            *at++ += base;
            continue;
        }
        for (uintptr_t bits = *entry >> 1, i = 0; bits != 0; bits >>= 1, i++) {
            if (bits & 1) {
                at[i] += base;
            }
        }
        at += 8 * sizeof(*entry) - 1;
    }
}
