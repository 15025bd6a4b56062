/* libc.c -- functions of the C library that a release has in place of musl's:
 * memcmp(), which compares a byte at a time there and is 9 % of a write;
 * vfprintf(), whose exact decimals of long doubles craftd does not need; and
 * qsort() and strstr(), which take 2 KB there, and which only short lists, the
 * start and commands need here.
 *
 * vfprintf() knows what craftd prints: d i u o x X c s p % with the flags - and
 * 0, width, precision and the sizes of integers, and f of a number under 10^15
 * in size with at most six decimals. Any other conversion ends the program. */
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int memcmp(const void *left, const void *right, size_t size)
{
    const unsigned char *a = left;
    const unsigned char *b = right;
    for (; size >= sizeof(size_t); size -= sizeof(size_t)) {
        size_t x;
        size_t y;
        __builtin_memcpy(&x, a, sizeof(x));
        __builtin_memcpy(&y, b, sizeof(y));
        if (x != y) {
            break; /* The bytes in it tell which is less. */
        }
        a += sizeof(size_t);
        b += sizeof(size_t);
    }
    for (; size > 0 && *a == *b; size--) {
        a++;
        b++;
    }
    return size > 0 ? *a - *b : 0;
}

static void swap(unsigned char *a, unsigned char *b, size_t size)
{
    for (; size > 0; size--, a++, b++) {
        unsigned char byte = *a;
        *a = *b;
        *b = byte;
    }
}

/* Heapsort: in place, and n log n steps whatever the order. */
void qsort(void *items, size_t count, size_t size,
           int (*compare)(const void *, const void *))
{
    unsigned char *at = items;
    size_t root = count / 2; /* All behind it are heaps already. */
    while (count > 1) {
        if (root > 0) {
            root--;
        } else {
            count--;
            swap(at, at + count * size, size);
        }
        for (size_t parent = root, child; (child = 2 * parent + 1) < count;
             parent = child) {
            child += child + 1 < count &&
                     compare(at + child * size, at + child * size + size) < 0;
            if (compare(at + parent * size, at + child * size) >= 0) {
                break;
            }
            swap(at + parent * size, at + child * size, size);
        }
    }
}

/* For short needles: a step takes as many comparisons as the needle has. */
char *strstr(const char *text, const char *needle)
{
    size_t size = strlen(needle);
    for (; strncmp(text, needle, size) != 0; text++) {
        if (!*text) {
            return NULL;
        }
    }
    return (char *)(uintptr_t)text;
}

struct out {
    FILE *file;
    int count;
    bool failed;
};

static void put(struct out *out, const char *text, size_t size)
{
    out->failed |= size > 0 && fwrite(text, 1, size, out->file) != size;
    out->count += (int)size;
}

static void pad(struct out *out, char with, int count)
{
    for (; count > 0; count--) {
        put(out, &with, 1);
    }
}

/* Writes the digits of a number before `end`, at least `least` of them. Returns
 * where they begin. */
static char *digits(char *end, uintmax_t number, unsigned base, char ten,
                    int least)
{
    for (; number > 0 || least > 0; least--) {
        unsigned digit = (unsigned)(number % base);
        *--end = (char)(digit < 10 ? '0' + (int)digit : ten + (int)digit - 10);
        number /= base;
    }
    return end;
}

static char *decimals(char *end, double number, int precision)
{
    uint64_t scale = 1;
    if (precision > 6 || !(number < 1e15)) {
        abort();
    }
    for (int i = 0; i < precision; i++) {
        scale *= 10;
    }
    uint64_t rounded = (uint64_t)(number * (double)scale + 0.5);
    char *begin = digits(end, rounded % scale, 10, 'a', precision);
    if (precision > 0) {
        *--begin = '.';
    }
    return digits(begin, rounded / scale, 10, 'a', 1);
}

static int number_of(const char **format, va_list *arguments)
{
    int number = 0;
    if (**format == '*') {
        ++*format;
        return va_arg(*arguments, int);
    }
    for (; **format >= '0' && **format <= '9'; ++*format) {
        number = 10 * number + **format - '0';
    }
    return number;
}

/* The size of an integer: of how many bytes it is taken from the arguments. */
static size_t size_of(const char **format)
{
    size_t size = sizeof(int);
    for (;; ++*format) {
        switch (**format) {
        case 'h':
            break; /* Its value is that of an int. */
        case 'l':
            size = sizeof(long);
            if ((*format)[1] == 'l') {
                ++*format;
                size = sizeof(long long);
            }
            break;
        case 'z':
        case 't':
            size = sizeof(size_t);
            break;
        case 'j':
            size = sizeof(intmax_t);
            break;
        default:
            return size;
        }
    }
}

static intmax_t integer(size_t size, va_list *arguments)
{
    return size == sizeof(int) ? va_arg(*arguments, int)
                               : va_arg(*arguments, long long);
}

static void convert(struct out *out, const char **format, va_list *arguments)
{
    bool left = false;
    bool zero = false;
    for (;; ++*format) {
        if (**format == '-') {
            left = true;
        } else if (**format == '0') {
            zero = true;
        } else {
            break;
        }
    }
    int width = number_of(format, arguments);
    int precision = -1;
    if (**format == '.') {
        ++*format;
        precision = number_of(format, arguments);
    }
    size_t size = size_of(format);
    char buffer[48];
    char *end = buffer + sizeof(buffer);
    const char *text = end;
    const char *sign = "";
    char conversion = *(*format)++;
    unsigned base = 10;
    switch (conversion) {
    case 's':
        text = va_arg(*arguments, const char *);
        size = precision < 0 ? strlen(text) : strnlen(text, (size_t)precision);
        zero = false;
        break;
    case '%':
    case 'c':
        buffer[0] = conversion == '%' ? '%' : (char)va_arg(*arguments, int);
        text = buffer;
        size = 1;
        zero = false;
        break;
    case 'f': {
        double number = va_arg(*arguments, double);
        if (number < 0) {
            sign = "-";
            number = -number;
        }
        text = decimals(end, number, precision < 0 ? 6 : precision);
        size = (size_t)(end - text);
        break;
    }
    case 'p':
        size = sizeof(void *);
        sign = "0x";
        conversion = 'x';
        /* fallthrough */
    case 'x':
    case 'X':
        base = 16;
        /* fallthrough */
    case 'o':
        base = conversion == 'o' ? 8 : base;
        /* fallthrough */
    case 'u':
    case 'd':
    case 'i': {
        intmax_t number = integer(size, arguments);
        uintmax_t value = (uintmax_t)number;
        if (conversion == 'd' || conversion == 'i') {
            if (number < 0) {
                sign = "-";
                value = 0 - value;
            }
        } else if (size == sizeof(int)) {
            value = (unsigned)value;
        }
        if (precision > 20) {
            abort();
        }
        text = digits(end, value, base, conversion == 'X' ? 'A' : 'a',
                      precision < 0 ? 1 : precision);
        zero = zero && precision < 0;
        size = (size_t)(end - text);
        break;
    }
    default:
        abort();
    }
    int missing = width - (int)size - (int)strlen(sign);
    pad(out, ' ', left || zero ? 0 : missing);
    put(out, sign, strlen(sign));
    pad(out, '0', zero && !left ? missing : 0);
    put(out, text, size);
    pad(out, ' ', left ? missing : 0);
}

int vfprintf(FILE *restrict file, const char *restrict format, va_list given)
{
    struct out out = {.file = file};
    const char *at = format;
    va_list arguments;
    va_copy(arguments, given);
    while (*at) {
        size_t size = strcspn(at, "%");
        put(&out, at, size);
        at += size;
        if (*at == '%') {
            at++;
            convert(&out, &at, &arguments);
        }
    }
    va_end(arguments);
    return out.failed ? -1 : out.count;
}
