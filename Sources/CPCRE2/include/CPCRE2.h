// Regular expressions over UTF-8 with PCRE2 (8-bit library, 10.x), loaded at run time. The functions and constants in
// loader.c are its stable interface.
//
// Patterns come from files: they are compiled with Unicode properties (UCP), without \C, and matched under limits.
#ifndef RETORT_CPCRE2_H
#define RETORT_CPCRE2_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/// Why PCRE2 could not be opened (dlopen's own words), or NULL once it is open. Thread-safe; loads on first call.
/// RETORT_PCRE2_LIBRARY names another library than libpcre2-8.so.0.
const char *cpcre2_load_error(void);

/// A compiled pattern; may be used by several threads at once.
typedef struct cpcre2_pattern cpcre2_pattern;

/// NULL when the pattern is wrong: `message` (NUL-terminated) says how, `offset` where, in bytes. The library must be loaded.
cpcre2_pattern *cpcre2_compile(const char *pattern, size_t length, char *message, size_t message_room, size_t *offset);
void cpcre2_free(cpcre2_pattern *pattern);

/// A search through one text, of one thread.
typedef struct {
    size_t position;    // where the next attempt begins
    size_t last_end;    // end of the last match
    bool has_matched;
    bool is_done;
    void *match_data;
} cpcre2_search;

/// False when memory is short.
bool cpcre2_begin(cpcre2_search *search, const cpcre2_pattern *pattern);
void cpcre2_end(cpcre2_search *search);

enum {
    CPCRE2_LIMIT = -1,   // matching takes more steps, depth or memory than allowed
    CPCRE2_FAILED = -2,  // anything else
};

/// The next matches of the pattern in `text` (valid UTF-8), from left to right, not overlapping: pairs of byte offsets, start and
/// end, at most `capacity` pairs. An empty match right behind the last one is passed over. Returns the number of pairs, fewer than
/// `capacity` only at the end of the text, or CPCRE2_LIMIT, CPCRE2_FAILED.
ptrdiff_t cpcre2_next(cpcre2_search *search, const cpcre2_pattern *pattern, const uint8_t *text, size_t length,
                      uint32_t *ranges, size_t capacity);

#endif
