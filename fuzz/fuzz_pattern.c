/* fuzz_pattern.c -- the input is an expression, a line feed, and a text.
 * Properties: both are read to an end; and what matches a text, and does not
 * ask where it ends, matches whatever goes on behind it. */
#include "pattern/pattern.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct pattern pattern;
    const uint8_t *line = size > 0 ? memchr(data, '\n', size) : NULL;
    if (!line) {
        return 0;
    }
    struct bytes expression = bytes_of(data, (size_t)(line - data));
    struct bytes text = bytes_of(line + 1, size - expression.size - 1);
    if (pattern_compile(&pattern, expression)) {
        return 0;
    }
    bool matches = pattern_matches(&pattern, text);
    bool begins = pattern_matches(&pattern, bytes_of(text.data, text.size / 2));
    bool asks = expression.size > 0 && memchr(data, '$', expression.size);
    must(matches || !begins || asks);
    return 0;
}
