#include "CZstd.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

// zstd.h's ZSTD_inBuffer and ZSTD_outBuffer.
typedef struct {
    const void *src;
    size_t size;
    size_t pos;
} in_buffer;
typedef struct {
    void *dst;
    size_t size;
    size_t pos;
} out_buffer;

struct czstd_stream {
    void *decompressor;
    size_t status;  // the last call's
};

static void *(*create)(void);
static size_t (*destroy)(void *);
static size_t (*decompress)(void *, out_buffer *, in_buffer *);
static unsigned (*is_error)(size_t);
static const char *(*error_name)(size_t);
static char load_error[512];
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void load(void) {
    const char *chosen = getenv("RETORT_ZSTD_LIBRARY");
    void *library = dlopen(chosen ? chosen : "libzstd.so.1", RTLD_NOW | RTLD_LOCAL);
    if (!library && !chosen) library = dlopen("libzstd.so", RTLD_NOW | RTLD_LOCAL);
    if (!library) {
        snprintf(load_error, sizeof load_error, "%s", dlerror());
        return;
    }
    create = (void *(*)(void))dlsym(library, "ZSTD_createDStream");
    destroy = (size_t(*)(void *))dlsym(library, "ZSTD_freeDStream");
    decompress = (size_t(*)(void *, out_buffer *, in_buffer *))dlsym(library, "ZSTD_decompressStream");
    is_error = (unsigned (*)(size_t))dlsym(library, "ZSTD_isError");
    error_name = (const char *(*)(size_t))dlsym(library, "ZSTD_getErrorName");
    if (!destroy || !decompress || !is_error || !error_name) create = NULL;
    if (!create) snprintf(load_error, sizeof load_error, "the library has no ZSTD_createDStream or its companions");
}

const char *czstd_load_error(void) {
    pthread_once(&once, load);
    return create ? NULL : load_error;
}

czstd_stream *czstd_open(void) {
    czstd_stream *stream = calloc(1, sizeof *stream);
    if (!stream) return NULL;
    stream->decompressor = create();
    if (stream->decompressor) return stream;
    free(stream);
    return NULL;
}

void czstd_close(czstd_stream *stream) {
    destroy(stream->decompressor);
    free(stream);
}

czstd_result czstd_decompress(czstd_stream *stream, const void *input, size_t *input_count, void *output,
                              size_t *output_count) {
    in_buffer in = {input, *input_count, 0};
    out_buffer out = {output, *output_count, 0};
    stream->status = decompress(stream->decompressor, &out, &in);
    *input_count = in.pos;
    *output_count = out.pos;
    if (is_error(stream->status)) return CZSTD_DAMAGED;
    return stream->status == 0 ? CZSTD_FRAME_END : CZSTD_MORE;
}

const char *czstd_message(const czstd_stream *stream) {
    return is_error(stream->status) ? error_name(stream->status) : "the compressed data are invalid";
}
