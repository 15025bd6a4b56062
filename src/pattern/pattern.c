/* pattern.c -- Glushkov's automaton of an expression (The abstract theory of
 * automata, 1961). It has exactly one state for every place where a character
 * may stand; sets of states are sets of bits.
 *
 * An expression is parsed once, from left to right. The part that has been read
 * is a fragment: the places that it begins and ends with, and whether it may be
 * empty. Fragments are concatenated by letting the last places of one be
 * followed by the first places of the next. '^' and '$' are places too, which
 * consume no byte. */
#include "pattern/pattern.h"

#include "base/text.h"
#include "json/json.h"

/* ---- sets ---- */

static void set_add(struct places *set, uint32_t place)
{
    must(place < PATTERN_PLACES_MAX);
    set->words[place / 64] |= UINT64_C(1) << place % 64;
}

static bool set_has(const struct places *set, uint32_t place)
{
    return (set->words[place / 64] >> place % 64 & 1) != 0;
}

static void set_join(struct places *set, const struct places *other)
{
    for (int i = 0; i < PATTERN_WORDS; i++) {
        set->words[i] |= other->words[i];
    }
}

static struct places set_meet(const struct places *a, const struct places *b)
{
    struct places meet;
    for (int i = 0; i < PATTERN_WORDS; i++) {
        meet.words[i] = a->words[i] & b->words[i];
    }
    return meet;
}

static bool set_is_empty(const struct places *set)
{
    uint64_t any = 0;
    for (int i = 0; i < PATTERN_WORDS; i++) {
        any |= set->words[i];
    }
    return any == 0;
}

static bool set_equal(const struct places *a, const struct places *b)
{
    return memcmp(a, b, sizeof(*a)) == 0;
}

/* ---- fragments ---- */

struct fragment {
    uint32_t from; /* The places of the fragment are [from, to). */
    uint32_t to;
    bool nullable;
    struct places first;
    struct places last;
};

/* The part of a group, or of the whole expression, that has been read. */
struct group {
    struct fragment branches; /* The branches before the last '|'. */
    bool has_branches;
    struct fragment branch; /* The branch being read, without its last ... */
    struct fragment atom;   /* ... atom, which may still be repeated. */
    bool has_atom;
    bool fixed; /* It is '^' or '$', whose repetition is undefined. */
};

struct compiler {
    struct pattern *pattern;
    const uint8_t *at;
    const uint8_t *end;
    struct group groups[PATTERN_DEPTH_MAX + 1];
    uint32_t depth;
    const char *why; /* The first fault; NULL: none. */
};

static bool wrong(struct compiler *compiler, const char *why)
{
    compiler->why = why;
    return false;
}

static struct fragment nothing(const struct compiler *compiler)
{
    uint32_t at = compiler->pattern->count;
    return (struct fragment){.from = at, .to = at, .nullable = true};
}

/* Let every place of `next` follow every place of `ends`. */
static void link(struct pattern *pattern, const struct places *ends,
                 const struct places *next)
{
    for (uint32_t i = 0; i < pattern->count; i++) {
        if (set_has(ends, i)) {
            set_join(&pattern->follow[i], next);
        }
    }
}

static void append(struct compiler *compiler, struct fragment *fragment,
                   const struct fragment *next)
{
    link(compiler->pattern, &fragment->last, &next->first);
    if (fragment->nullable) {
        set_join(&fragment->first, &next->first);
    }
    if (next->nullable) {
        set_join(&fragment->last, &next->last);
    } else {
        fragment->last = next->last;
    }
    fragment->nullable = fragment->nullable && next->nullable;
    fragment->to = next->to;
}

static void add_branch(struct fragment *branches, const struct fragment *branch)
{
    set_join(&branches->first, &branch->first);
    set_join(&branches->last, &branch->last);
    branches->nullable = branches->nullable || branch->nullable;
    branches->to = branch->to;
}

static bool has_room(struct compiler *compiler, uint32_t count)
{
    return count <= PATTERN_PLACES_MAX - compiler->pattern->count ||
           wrong(compiler,
                 "more than 256 characters after counts are expanded");
}

/* Make `fragment` one new place. False: there are too many. */
static bool add_place(struct compiler *compiler, struct fragment *fragment)
{
    uint32_t place = compiler->pattern->count;
    if (!has_room(compiler, 1)) {
        return false;
    }
    *fragment = (struct fragment){.from = place, .to = place + 1};
    set_add(&fragment->first, place);
    set_add(&fragment->last, place);
    compiler->pattern->count++;
    return true;
}

/* ---- repetition ---- */

static struct places set_moved(const struct places *set,
                               const struct fragment *from, uint32_t by)
{
    struct places moved = {0};
    for (uint32_t i = from->from; i < from->to; i++) {
        if (set_has(set, i)) {
            set_add(&moved, i + by);
        }
    }
    return moved;
}

/* Copy a fragment to new places behind all others. So far only links within the
 * fragment exist. */
static bool copy(struct compiler *compiler, const struct fragment *atom,
                 struct fragment *out)
{
    struct pattern *pattern = compiler->pattern;
    uint32_t by = pattern->count - atom->from;
    if (!has_room(compiler, atom->to - atom->from)) {
        return false;
    }
    pattern->count += atom->to - atom->from;
    for (uint32_t i = atom->from; i < atom->to; i++) {
        pattern->follow[i + by] = set_moved(&pattern->follow[i], atom, by);
        for (int byte = 0; byte < 256; byte++) {
            if (set_has(&pattern->takes[byte], i)) {
                set_add(&pattern->takes[byte], i + by);
            }
        }
        if (set_has(&pattern->begin, i)) {
            set_add(&pattern->begin, i + by);
        }
        if (set_has(&pattern->end, i)) {
            set_add(&pattern->end, i + by);
        }
    }
    *out = (struct fragment){.from = atom->from + by,
                             .to = atom->to + by,
                             .nullable = atom->nullable,
                             .first = set_moved(&atom->first, atom, by),
                             .last = set_moved(&atom->last, atom, by)};
    return true;
}

static const uint32_t without_end = UINT32_MAX;

/* Repeat `atom` from `min` to `max` times, by copies of it; the last one loops
 * when there is no maximum. Each copy is made before the previous one is linked
 * to others. */
static bool repeat(struct compiler *compiler, struct fragment *atom,
                   uint32_t min, uint32_t max)
{
    bool loops = max == without_end;
    uint32_t times = !loops ? max : min > 0 ? min : 1;
    struct fragment next = *atom;
    struct fragment all = nothing(compiler);
    if (times == 0) {
        *atom = all; /* Its places exist, and nothing leads to them. */
        return true;
    }
    all.from = atom->from;
    for (uint32_t i = 1; i <= times; i++) {
        struct fragment one = next;
        if (i < times && !copy(compiler, &one, &next)) {
            return false;
        }
        if (i == times && loops) {
            link(compiler->pattern, &one.last, &one.first);
        }
        one.nullable = one.nullable || i > min;
        append(compiler, &all, &one);
    }
    *atom = all;
    return true;
}

static bool read_number(struct compiler *compiler, uint32_t *number)
{
    const uint8_t *start = compiler->at;
    *number = 0;
    while (compiler->at < compiler->end && *compiler->at >= '0' &&
           *compiler->at <= '9' && *number <= PATTERN_COUNT_MAX) {
        *number = *number * 10 + (uint32_t)(*compiler->at - '0');
        compiler->at++;
    }
    if (compiler->at == start) {
        return wrong(compiler, "a brace that begins no count such as {2,5}");
    }
    return *number <= PATTERN_COUNT_MAX || wrong(compiler, "a count over 255");
}

static bool next_is(struct compiler *compiler, uint8_t c)
{
    bool is = compiler->at < compiler->end && *compiler->at == c;
    compiler->at += is;
    return is;
}

/* Read a count; the opening brace has been read. */
static bool read_count(struct compiler *compiler, uint32_t *min, uint32_t *max)
{
    if (!read_number(compiler, min)) {
        return false;
    }
    *max = *min;
    if (next_is(compiler, ',')) {
        *max = without_end;
        if (compiler->at < compiler->end && *compiler->at != '}' &&
            !read_number(compiler, max)) {
            return false;
        }
    }
    if (!next_is(compiler, '}')) {
        return wrong(compiler, "a count without its closing brace");
    }
    return *min <= *max || wrong(compiler, "a count that ends below its start");
}

static bool read_repetition(struct compiler *compiler, uint8_t c)
{
    struct group *group = &compiler->groups[compiler->depth];
    uint32_t min = c == '+' ? 1 : 0;
    uint32_t max = c == '?' ? 1 : without_end;
    if (!group->has_atom || group->fixed) {
        return wrong(compiler, "there is nothing to repeat");
    }
    if (c == '{' && !read_count(compiler, &min, &max)) {
        return false;
    }
    return repeat(compiler, &group->atom, min, max);
}

/* ---- atoms ---- */

/* Append the last atom to the branch: it cannot be repeated any more. */
static void end_atom(struct compiler *compiler)
{
    struct group *group = &compiler->groups[compiler->depth];
    if (group->has_atom) {
        append(compiler, &group->branch, &group->atom);
    }
    group->has_atom = false;
    group->fixed = false;
}

static struct fragment *begin_atom(struct compiler *compiler)
{
    struct group *group = &compiler->groups[compiler->depth];
    end_atom(compiler);
    group->has_atom = true;
    return &group->atom;
}

/* Add an atom for any character that starts with a byte of `lead`, with its
 * continuation bytes (the text is UTF-8, so no other place can take them). */
static bool add_character(struct compiler *compiler, const bool lead[256])
{
    struct pattern *pattern = compiler->pattern;
    struct fragment *atom = begin_atom(compiler);
    struct fragment rest;
    if (!add_place(compiler, atom)) {
        return false;
    }
    for (int byte = 0; byte < 256; byte++) {
        if (lead[byte]) {
            set_add(&pattern->takes[byte], atom->from);
        }
    }
    if (!lead[0xc3]) {
        return true; /* ASCII. */
    }
    if (!add_place(compiler, &rest)) {
        return false;
    }
    for (int byte = 0x80; byte < 0xc0; byte++) {
        set_add(&pattern->takes[byte], rest.from);
    }
    link(pattern, &rest.last, &rest.first);
    rest.nullable = true;
    append(compiler, atom, &rest);
    return true;
}

static void set_leads(bool lead[256], bool value)
{
    for (int byte = 0; byte < 256; byte++) {
        lead[byte] = value && (byte < 0x80 || byte >= 0xc0);
    }
}

static bool add_any(struct compiler *compiler)
{
    bool lead[256];
    set_leads(lead, true);
    return add_character(compiler, lead);
}

/* Add an atom for the bytes of one character, which is repeated as a whole. */
static bool add_literal(struct compiler *compiler, uint8_t c)
{
    struct fragment *atom = begin_atom(compiler);
    struct fragment next;
    if (!add_place(compiler, atom)) {
        return false;
    }
    set_add(&compiler->pattern->takes[c], atom->from);
    while (c >= 0xc0 && compiler->at < compiler->end &&
           (*compiler->at & 0xc0) == 0x80) {
        if (!add_place(compiler, &next)) {
            return false;
        }
        set_add(&compiler->pattern->takes[*compiler->at], next.from);
        append(compiler, atom, &next);
        compiler->at++;
    }
    return true;
}

static bool add_escaped(struct compiler *compiler)
{
    static const char special[] = ".[]\\()*+?{}|^$-/";
    if (compiler->at == compiler->end ||
        !memchr(special, *compiler->at, sizeof(special) - 1)) {
        return wrong(compiler, "after a backslash only .[]\\()*+?{}|^$-/ are "
                               "allowed (no back-references)");
    }
    return add_literal(compiler, *compiler->at++);
}

static bool add_anchor(struct compiler *compiler, struct places *anchors)
{
    struct fragment *atom = begin_atom(compiler);
    if (!add_place(compiler, atom)) {
        return false;
    }
    set_add(anchors, atom->from);
    compiler->groups[compiler->depth].fixed = true;
    return true;
}

/* ---- brackets ---- */

static bool is_in(uint8_t c, uint8_t low, uint8_t high)
{
    return c >= low && c <= high;
}

/* The classes of the C locale: the same on all nodes. */
static bool is_of_class(uint8_t c, int class)
{
    bool upper = is_in(c, 'A', 'Z');
    bool lower = is_in(c, 'a', 'z');
    bool digit = is_in(c, '0', '9');
    switch (class) {
    case 0:
        return upper || lower;
    case 1:
        return digit;
    case 2:
        return upper || lower || digit;
    case 3:
        return upper;
    case 4:
        return lower;
    case 5:
        return c == ' ' || is_in(c, '\t', '\r');
    case 6:
        return c == ' ' || c == '\t';
    case 7:
        return is_in(c, '!', '~') && !upper && !lower && !digit;
    case 8:
        return is_in(c, ' ', '~');
    case 9:
        return is_in(c, '!', '~');
    case 10:
        return c < ' ' || c == 0x7f;
    default:
        return digit || is_in(c, 'a', 'f') || is_in(c, 'A', 'F');
    }
}

static const char *const classes[] = {
    "alpha:]", "digit:]", "alnum:]", "upper:]", "lower:]", "space:]",
    "blank:]", "punct:]", "print:]", "graph:]", "cntrl:]", "xdigit:]",
};

/* Read the name of a class; "[:" has been read. */
static bool add_class(struct compiler *compiler, bool lead[256])
{
    size_t left = (size_t)(compiler->end - compiler->at);
    for (size_t i = 0; i < ARRAY_COUNT(classes); i++) {
        size_t size = strlen(classes[i]);
        if (left >= size && memcmp(compiler->at, classes[i], size) == 0) {
            compiler->at += size;
            for (uint8_t c = 0; c < 0x80; c++) {
                lead[c] = lead[c] || is_of_class(c, (int)i);
            }
            return true;
        }
    }
    return wrong(compiler, "an unknown class (a known one is [:digit:])");
}

static bool read_bracket_end(struct compiler *compiler, uint8_t *c)
{
    if (compiler->at == compiler->end) {
        return wrong(compiler, "a bracket that is not closed");
    }
    *c = *compiler->at++;
    if (*c >= 0x80) {
        return wrong(compiler, "only ASCII is allowed in brackets");
    }
    if (*c == '[' && compiler->at < compiler->end &&
        memchr(":=.", *compiler->at, 3)) {
        return wrong(compiler, "[=x=] and [.x.] are not supported, and a class "
                               "cannot end a range");
    }
    return true;
}

/* Read one character, one range, or one class. */
static bool read_bracket_item(struct compiler *compiler, bool lead[256])
{
    uint8_t low;
    if (compiler->end - compiler->at >= 2 && compiler->at[0] == '[' &&
        compiler->at[1] == ':') {
        compiler->at += 2;
        return add_class(compiler, lead);
    }
    if (!read_bracket_end(compiler, &low)) {
        return false;
    }
    uint8_t high = low;
    if (compiler->end - compiler->at >= 2 && compiler->at[0] == '-' &&
        compiler->at[1] != ']') {
        compiler->at++;
        if (!read_bracket_end(compiler, &high)) {
            return false;
        }
    }
    if (high < low) {
        return wrong(compiler, "a range that ends below its start");
    }
    for (int c = low; c <= high; c++) {
        lead[c] = true;
    }
    return true;
}

/* Read a bracket expression; the '[' has been read. A ']' in first position is
 * a character. */
static bool add_bracket(struct compiler *compiler)
{
    bool listed[256] = {false};
    bool lead[256];
    bool negated = next_is(compiler, '^');
    do {
        if (!read_bracket_item(compiler, listed)) {
            return false;
        }
    } while (!next_is(compiler, ']'));
    set_leads(lead, negated);
    for (int c = 0; c < 0x80; c++) {
        lead[c] = listed[c] != negated;
    }
    return add_character(compiler, lead);
}

/* ---- the expression ---- */

static void begin_group(struct compiler *compiler)
{
    compiler->groups[compiler->depth] =
        (struct group){.branch = nothing(compiler)};
}

static void end_branch(struct compiler *compiler)
{
    struct group *group = &compiler->groups[compiler->depth];
    end_atom(compiler);
    if (group->has_branches) {
        add_branch(&group->branches, &group->branch);
    } else {
        group->branches = group->branch;
    }
    group->has_branches = true;
    group->branch = nothing(compiler);
}

static bool open_group(struct compiler *compiler)
{
    if (compiler->depth == PATTERN_DEPTH_MAX) {
        return wrong(compiler, "groups are nested deeper than 16");
    }
    end_atom(compiler);
    compiler->depth++;
    begin_group(compiler);
    return true;
}

static bool close_group(struct compiler *compiler)
{
    if (compiler->depth == 0) {
        return wrong(compiler, "a ) that closes nothing");
    }
    end_branch(compiler);
    struct fragment whole = compiler->groups[compiler->depth].branches;
    compiler->depth--;
    *begin_atom(compiler) = whole;
    return true;
}

static bool read_one(struct compiler *compiler)
{
    uint8_t c = *compiler->at++;
    switch (c) {
    case '*':
    case '+':
    case '?':
    case '{':
        return read_repetition(compiler, c);
    case '(':
        return open_group(compiler);
    case ')':
        return close_group(compiler);
    case '|':
        end_branch(compiler);
        return true;
    case '^':
        return add_anchor(compiler, &compiler->pattern->begin);
    case '$':
        return add_anchor(compiler, &compiler->pattern->end);
    case '.':
        return add_any(compiler);
    case '[':
        return add_bracket(compiler);
    case '\\':
        return add_escaped(compiler);
    default:
        return add_literal(compiler, c);
    }
}

const char *pattern_compile(struct pattern *pattern, struct bytes text)
{
    struct compiler compiler = {.pattern = pattern,
                                .at = text.data,
                                .end = text.data ? text.data + text.size
                                                 : text.data};
    *pattern = (struct pattern){0};
    if (text.size > PATTERN_BYTES_MAX) {
        return "longer than 256 bytes";
    }
    if (!json_is_utf8(text)) {
        return "not UTF-8";
    }
    begin_group(&compiler);
    while (compiler.at < compiler.end) {
        if (!read_one(&compiler)) {
            return compiler.why;
        }
    }
    if (compiler.depth > 0) {
        return "a ( that is not closed";
    }
    end_branch(&compiler);
    pattern->nullable = compiler.groups[0].branches.nullable;
    pattern->first = compiler.groups[0].branches.first;
    pattern->last = compiler.groups[0].branches.last;
    return NULL;
}

/* ---- matching ---- */

static void add_followers(const struct pattern *pattern,
                          const struct places *matched, struct places *next)
{
    for (int i = 0; i < PATTERN_WORDS; i++) {
        for (uint64_t word = matched->words[i]; word != 0; word &= word - 1) {
            int place = i * 64 + __builtin_ctzll(word);
            set_join(next, &pattern->follow[place]);
        }
    }
}

/* Pass all anchors that hold here. True: this reaches the end of a match. */
static bool pass_anchors(const struct pattern *pattern,
                         const struct places *anchors, struct places *now)
{
    struct places before;
    do {
        struct places held = set_meet(now, anchors);
        struct places ends = set_meet(&held, &pattern->last);
        if (!set_is_empty(&ends)) {
            return true;
        }
        before = *now;
        add_followers(pattern, &held, now);
    } while (!set_equal(&before, now));
    return false;
}

/* `now` are the places that may match the next byte. */
bool pattern_matches(const struct pattern *pattern, struct bytes text)
{
    struct places now = {0};
    struct places anchors = pattern->begin;
    if (pattern->nullable) {
        return true;
    }
    for (size_t i = 0;; i++) {
        set_join(&now, &pattern->first); /* A match may begin anywhere. */
        if (i == text.size) {
            set_join(&anchors, &pattern->end);
        }
        if (pass_anchors(pattern, &anchors, &now)) {
            return true;
        }
        if (i == text.size) {
            return false;
        }
        struct places matched = set_meet(&now, &pattern->takes[text.data[i]]);
        struct places ends = set_meet(&matched, &pattern->last);
        if (!set_is_empty(&ends)) {
            return true;
        }
        now = (struct places){0};
        add_followers(pattern, &matched, &now);
        anchors = (struct places){0};
    }
}
