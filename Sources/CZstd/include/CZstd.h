// The few libzstd entry points Retort uses, loaded at run time: Zstandard (RFC 8878) is read with them. The structures and the
// functions declared in loader.c are libzstd's stable interface, the same since version 1.0.
#ifndef RETORT_CZSTD_H
#define RETORT_CZSTD_H

#include <stddef.h>

/// Why libzstd could not be opened (dlopen's own words), or NULL once it is open. Thread-safe; loads on first call.
/// RETORT_ZSTD_LIBRARY names another library than libzstd.so.1.
const char *czstd_load_error(void);

/// A decompressor in the middle of its input.
typedef struct czstd_stream czstd_stream;

/// A decompressor; NULL when memory is short. The library must be loaded.
czstd_stream *czstd_open(void);
void czstd_close(czstd_stream *stream);

typedef enum {
    CZSTD_MORE,       // input or output is used up in the middle of a frame
    CZSTD_FRAME_END,  // a frame has ended, its checksum is right where it has one
    CZSTD_DAMAGED,    // czstd_message says how
} czstd_result;

/// Decompresses until the input or the room for output is used up, or a frame ends. The counts are bytes: available on
/// entry, used on return.
czstd_result czstd_decompress(czstd_stream *stream, const void *input, size_t *input_count, void *output,
                              size_t *output_count);

/// What is wrong with the data, in libzstd's words; never NULL.
const char *czstd_message(const czstd_stream *stream);

#endif
