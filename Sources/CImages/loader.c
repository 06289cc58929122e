#include "CImages.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void keep_message(cimages_file *file, const char *message) {
    snprintf(file->message, sizeof file->message, "%s", message && *message ? message : "the data are invalid");
}

// ---- libpng: png.h's simplified interface, PNG_IMAGE_VERSION 1 --------------------------------------------------------

typedef struct {
    void *opaque;
    unsigned version;
    unsigned width, height;
    unsigned format;
    unsigned flags;
    unsigned colormap_entries;
    unsigned warning_or_error;
    char message[64];
} png_image;

enum {
    PNG_IMAGE_VERSION = 1,
    PNG_FORMAT_FLAG_ALPHA = 1,
    PNG_FORMAT_FLAG_COLOR = 2,
    PNG_FORMAT_GRAY = 0,
    PNG_FORMAT_RGB = 2,
    PNG_FORMAT_RGBA = 3,
    PNG_IMAGE_FLAG_16BIT_sRGB = 4,  // samples of 16 bits are not linear light: those of 8 bits are not either
    PNG_IMAGE_FAILED_MASK = 2,      // an error, not a mere warning
};

static int (*png_begin)(png_image *, const void *, size_t);
static int (*png_finish)(png_image *, const void *, void *, int, void *);
static void (*png_free)(png_image *);
static char png_load_error[512];
static pthread_once_t png_once = PTHREAD_ONCE_INIT;

static void load_png(void) {
    const char *chosen = getenv("RETORT_PNG_LIBRARY");
    void *library = dlopen(chosen ? chosen : "libpng16.so.16", RTLD_NOW | RTLD_LOCAL);
    if (!library && !chosen) library = dlopen("libpng16.so", RTLD_NOW | RTLD_LOCAL);
    if (!library) {
        snprintf(png_load_error, sizeof png_load_error, "%s", dlerror());
        return;
    }
    png_finish = (int (*)(png_image *, const void *, void *, int, void *))dlsym(library, "png_image_finish_read");
    png_free = (void (*)(png_image *))dlsym(library, "png_image_free");
    if (png_finish && png_free)
        png_begin = (int (*)(png_image *, const void *, size_t))dlsym(library, "png_image_begin_read_from_memory");
    if (!png_begin) snprintf(png_load_error, sizeof png_load_error, "the library has no png_image_finish_read");
}

const char *cimages_png_load_error(void) {
    pthread_once(&png_once, load_png);
    return png_begin ? NULL : png_load_error;
}

bool cimages_png_open(cimages_file *file, const void *bytes, size_t count) {
    memset(file, 0, sizeof *file);
    png_image *image = calloc(1, sizeof *image);
    if (!image) {
        keep_message(file, "out of memory");
        return false;
    }
    image->version = PNG_IMAGE_VERSION;
    if (!png_begin(image, bytes, count)) {
        keep_message(file, image->message);
        png_free(image);
        free(image);
        return false;
    }
    file->handle = image;
    file->width = image->width;
    file->height = image->height;
    bool alpha = image->format & PNG_FORMAT_FLAG_ALPHA, colour = image->format & PNG_FORMAT_FLAG_COLOR;
    file->layout = alpha ? CIMAGES_RGBA : colour ? CIMAGES_RGB : CIMAGES_GREY;
    return true;
}

bool cimages_png_decode(cimages_file *file, void *pixels) {
    png_image *image = file->handle;
    image->format = file->layout == CIMAGES_RGBA ? PNG_FORMAT_RGBA
                    : file->layout == CIMAGES_RGB ? PNG_FORMAT_RGB
                                                  : PNG_FORMAT_GRAY;
    image->flags |= PNG_IMAGE_FLAG_16BIT_sRGB;
    // Stride 0: rows without gaps. Finishing frees what the image holds, whatever comes of it.
    bool done = png_finish(image, NULL, pixels, 0, NULL) && !(image->warning_or_error & PNG_IMAGE_FAILED_MASK);
    if (!done) keep_message(file, image->message);
    cimages_png_close(file);
    return done;
}

void cimages_png_close(cimages_file *file) {
    png_free(file->handle);
    free(file->handle);
    file->handle = NULL;
}

// ---- TurboJPEG: turbojpeg.h, functions of version 1.2 to 2.x, kept by 3.x -------------------------------------------------

enum { TJPF_RGB = 0, TJPF_GRAY = 6, TJCS_GRAY = 2, TJCS_CMYK = 3, TJCS_YCCK = 4 };
enum {
    TJFLAG_ACCURATEDCT = 4096,    // the slow integer transform: one result on every machine
    TJFLAG_STOPONWARNING = 8192,  // data cut off are not filled with grey
    TJFLAG_LIMITSCANS = 32768,    // at most 500 scans: a small file cannot cost hours
};

static void *(*jpeg_init)(void);
static int (*jpeg_header)(void *, const unsigned char *, unsigned long, int *, int *, int *, int *);
static int (*jpeg_decompress)(void *, const unsigned char *, unsigned long, unsigned char *, int, int, int, int, int);
static char *(*jpeg_error)(void *);
static int (*jpeg_destroy)(void *);
static char jpeg_load_error[512];
static pthread_once_t jpeg_once = PTHREAD_ONCE_INIT;

static void load_jpeg(void) {
    const char *chosen = getenv("RETORT_TURBOJPEG_LIBRARY");
    void *library = dlopen(chosen ? chosen : "libturbojpeg.so.0", RTLD_NOW | RTLD_LOCAL);
    if (!library && !chosen) library = dlopen("libturbojpeg.so", RTLD_NOW | RTLD_LOCAL);
    if (!library) {
        snprintf(jpeg_load_error, sizeof jpeg_load_error, "%s", dlerror());
        return;
    }
    jpeg_header = (int (*)(void *, const unsigned char *, unsigned long, int *, int *, int *, int *))dlsym(
        library, "tjDecompressHeader3");
    jpeg_decompress =
        (int (*)(void *, const unsigned char *, unsigned long, unsigned char *, int, int, int, int, int))dlsym(
            library, "tjDecompress2");
    jpeg_error = (char *(*)(void *))dlsym(library, "tjGetErrorStr2");
    jpeg_destroy = (int (*)(void *))dlsym(library, "tjDestroy");
    if (jpeg_header && jpeg_decompress && jpeg_error && jpeg_destroy)
        jpeg_init = (void *(*)(void))dlsym(library, "tjInitDecompress");
    if (!jpeg_init)
        snprintf(jpeg_load_error, sizeof jpeg_load_error, "the library has no tjDecompressHeader3 or tjGetErrorStr2");
}

const char *cimages_jpeg_load_error(void) {
    pthread_once(&jpeg_once, load_jpeg);
    return jpeg_init ? NULL : jpeg_load_error;
}

bool cimages_jpeg_open(cimages_file *file, const void *bytes, size_t count) {
    memset(file, 0, sizeof *file);
    file->handle = jpeg_init();
    if (!file->handle) {
        keep_message(file, "out of memory");
        return false;
    }
    int width = 0, height = 0, subsampling = 0, colours = 0;
    if (jpeg_header(file->handle, bytes, count, &width, &height, &subsampling, &colours) != 0 || width < 1 ||
        height < 1) {
        keep_message(file, jpeg_error(file->handle));
        cimages_jpeg_close(file);
        return false;
    }
    file->bytes = bytes;
    file->count = count;
    file->width = (unsigned)width;
    file->height = (unsigned)height;
    file->layout = colours == TJCS_GRAY                          ? CIMAGES_GREY
                   : colours == TJCS_CMYK || colours == TJCS_YCCK ? CIMAGES_CMYK
                                                                  : CIMAGES_RGB;
    return true;
}

bool cimages_jpeg_decode(cimages_file *file, void *pixels) {
    bool done = jpeg_decompress(file->handle, file->bytes, file->count, pixels, (int)file->width, 0, (int)file->height,
                                file->layout == CIMAGES_GREY ? TJPF_GRAY : TJPF_RGB,
                                TJFLAG_ACCURATEDCT | TJFLAG_STOPONWARNING | TJFLAG_LIMITSCANS) == 0;
    if (!done) keep_message(file, jpeg_error(file->handle));
    cimages_jpeg_close(file);
    return done;
}

void cimages_jpeg_close(cimages_file *file) {
    jpeg_destroy(file->handle);
    file->handle = NULL;
}
