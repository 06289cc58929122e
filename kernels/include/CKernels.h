// The text of every OpenCL C file, inside the binary: a copied program needs no resource folder beside it.
#ifndef RETORT_CKERNELS_H
#define RETORT_CKERNELS_H

#include <stddef.h>

typedef struct {
    const char *name;  // file name without folder, e.g. "softmax.cl"
    const char *text;  // not terminated by the length
    size_t length;     // bytes
} ckernels_source;

const ckernels_source *ckernels_sources(void);
size_t ckernels_source_count(void);

#endif
