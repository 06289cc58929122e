// The few zlib entry points Retort uses, loaded at run time: gzip (RFC 1952) is read with them. The structure and the
// functions declared in loader.c are zlib's stable interface, the same since version 1.2.0.
#ifndef RETORT_CZLIB_H
#define RETORT_CZLIB_H

#include <stdbool.h>
#include <stddef.h>

/// Why zlib could not be opened (dlopen's own words), or NULL once it is open. Thread-safe; loads on first call.
/// RETORT_ZLIB_LIBRARY names another library than libz.so.1.
const char *czlib_load_error(void);

/// A decompressor in the middle of its input.
typedef struct czlib_stream czlib_stream;

/// A decompressor of gzip data, checksums verified; NULL when memory is short. The library must be loaded.
czlib_stream *czlib_open_gzip(void);
void czlib_close(czlib_stream *stream);

/// Forgets the member just read; what follows is the beginning of another.
bool czlib_next_member(czlib_stream *stream);

typedef enum {
    CZLIB_MORE,     // input or output is used up
    CZLIB_END,      // a gzip member has ended, its checksum and length are right
    CZLIB_DAMAGED,  // czlib_message says how
    CZLIB_NO_MEMORY,
} czlib_result;

/// Decompresses until the input or the room for output is used up, or a member ends. The counts are bytes: available on
/// entry, used on return.
czlib_result czlib_inflate(czlib_stream *stream, const void *input, size_t *input_count, void *output,
                           size_t *output_count);

/// What is wrong with the data, in zlib's words; never NULL.
const char *czlib_message(const czlib_stream *stream);

#endif
