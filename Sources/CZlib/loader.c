#include "CZlib.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

// zlib.h's z_stream. Its size and zlib's major version are checked by inflateInit2_ itself.
typedef struct {
    const unsigned char *next_in;
    unsigned avail_in;
    unsigned long total_in;
    unsigned char *next_out;
    unsigned avail_out;
    unsigned long total_out;
    const char *msg;
    void *state;
    void *(*zalloc)(void *, unsigned, unsigned);
    void (*zfree)(void *, void *);
    void *opaque;
    int data_type;
    unsigned long adler;
    unsigned long reserved;
} z_stream;

enum { Z_NO_FLUSH = 0, Z_OK = 0, Z_STREAM_END = 1, Z_MEM_ERROR = -4, Z_BUF_ERROR = -5 };
enum { GZIP_ONLY = 16, LARGEST_WINDOW = 15 };

struct czlib_stream { z_stream z; };

static int (*inflate_init)(z_stream *, int, const char *, int);
static int (*inflate)(z_stream *, int);
static int (*inflate_reset)(z_stream *);
static int (*inflate_end)(z_stream *);
static char load_error[512];
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void load(void) {
    const char *chosen = getenv("RETORT_ZLIB_LIBRARY");
    void *library = dlopen(chosen ? chosen : "libz.so.1", RTLD_NOW | RTLD_LOCAL);
    if (!library && !chosen) library = dlopen("libz.so", RTLD_NOW | RTLD_LOCAL);
    if (!library) {
        snprintf(load_error, sizeof load_error, "%s", dlerror());
        return;
    }
    inflate_init = (int (*)(z_stream *, int, const char *, int))dlsym(library, "inflateInit2_");
    inflate = (int (*)(z_stream *, int))dlsym(library, "inflate");
    inflate_reset = (int (*)(z_stream *))dlsym(library, "inflateReset");
    inflate_end = (int (*)(z_stream *))dlsym(library, "inflateEnd");
    if (!inflate || !inflate_reset || !inflate_end) inflate_init = NULL;
    if (!inflate_init) snprintf(load_error, sizeof load_error, "the library has no inflateInit2_ or inflate");
}

const char *czlib_load_error(void) {
    pthread_once(&once, load);
    return inflate_init ? NULL : load_error;
}

czlib_stream *czlib_open_gzip(void) {
    czlib_stream *stream = calloc(1, sizeof *stream);
    if (stream && inflate_init(&stream->z, LARGEST_WINDOW + GZIP_ONLY, "1.2.0", (int)sizeof stream->z) != Z_OK) {
        free(stream);
        return NULL;
    }
    return stream;
}

void czlib_close(czlib_stream *stream) {
    inflate_end(&stream->z);
    free(stream);
}

bool czlib_next_member(czlib_stream *stream) { return inflate_reset(&stream->z) == Z_OK; }

czlib_result czlib_inflate(czlib_stream *stream, const void *input, size_t *input_count, void *output,
                           size_t *output_count) {
    // zlib counts in 32 bits; the caller comes again for the rest.
    const unsigned most = 1u << 30;
    unsigned in = *input_count < most ? (unsigned)*input_count : most;
    unsigned out = *output_count < most ? (unsigned)*output_count : most;
    stream->z.next_in = input;
    stream->z.avail_in = in;
    stream->z.next_out = output;
    stream->z.avail_out = out;
    int status = inflate(&stream->z, Z_NO_FLUSH);
    *input_count = in - stream->z.avail_in;
    *output_count = out - stream->z.avail_out;
    switch (status) {
        case Z_STREAM_END: return CZLIB_END;
        case Z_OK:
        case Z_BUF_ERROR: return CZLIB_MORE;  // no progress was possible: not an error of the data
        case Z_MEM_ERROR: return CZLIB_NO_MEMORY;
        default: return CZLIB_DAMAGED;
    }
}

const char *czlib_message(const czlib_stream *stream) {
    return stream->z.msg ? stream->z.msg : "the compressed data are invalid";
}
