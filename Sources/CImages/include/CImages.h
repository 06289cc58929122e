// Decoding PNG and JPEG files with the system's libraries, loaded at run time: libpng's simplified interface (1.6) and
// TurboJPEG. The structure and the functions declared in loader.c are their stable interfaces.
//
// A file is opened, looked at (its size costs nothing), then decoded into memory of the caller or closed. The bytes given
// at opening must stay where they are until then.
#ifndef RETORT_CIMAGES_H
#define RETORT_CIMAGES_H

#include <stdbool.h>
#include <stddef.h>

/// Why the library could not be opened (dlopen's own words), or NULL once it is open. Thread-safe; loads on first call.
/// RETORT_PNG_LIBRARY names another library than libpng16.so.16, RETORT_TURBOJPEG_LIBRARY another than libturbojpeg.so.0.
const char *cimages_png_load_error(void);
const char *cimages_jpeg_load_error(void);

typedef enum {
    CIMAGES_GREY,  // 1 byte a pixel
    CIMAGES_RGB,   // 3
    CIMAGES_RGBA,  // 4: alpha 0 (transparent) to 255, colours not multiplied by it
    CIMAGES_CMYK,  // of a JPEG; not decoded
} cimages_layout;

typedef struct {
    unsigned width, height;  // pixels
    cimages_layout layout;   // what `decode` will write
    char message[256];       // after a failure: the library's words
    void *handle;
    const void *bytes;
    size_t count;
} cimages_file;

/// Reads the header. False when it is damaged (message); nothing has to be closed then. The library must be loaded.
bool cimages_png_open(cimages_file *file, const void *bytes, size_t count);
bool cimages_jpeg_open(cimages_file *file, const void *bytes, size_t count);

/// Writes width · height pixels, row after row without gaps, top row first, and closes the file. False when the data are
/// damaged (message); what was written is then worthless.
///
/// PNG: palettes are expanded, 16-bit samples scaled to 8, grey without alpha stays grey. JPEG: RGB or grey, accurate
/// integer transform, smooth upsampling; anything the library warns of (data cut off, bytes between segments) is damage.
bool cimages_png_decode(cimages_file *file, void *pixels);
bool cimages_jpeg_decode(cimages_file *file, void *pixels);

/// Gives an opened file up without decoding it.
void cimages_png_close(cimages_file *file);
void cimages_jpeg_close(cimages_file *file);

#endif
