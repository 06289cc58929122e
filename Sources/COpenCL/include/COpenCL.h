// OpenCL 1.2 headers plus a loader. The program never links libOpenCL: every entry point below is a stub of our own that
// forwards to the library found at run time, so `retort --help` starts on a machine without any OpenCL.
#ifndef RETORT_COPENCL_H
#define RETORT_COPENCL_H

#ifndef CL_TARGET_OPENCL_VERSION
#define CL_TARGET_OPENCL_VERSION 120
#endif

// Hidden: an exported clFinish of ours must never capture the calls that a driver makes to the real one.
#pragma GCC visibility push(hidden)
#include <CL/cl.h>
#pragma GCC visibility pop

/// Why the loader could not be opened (dlopen's own words), or NULL once it is open. Thread-safe; loads on first call.
const char *copencl_load_error(void);

/// What each stub returns when there is no loader; the code that ICD loaders use for "no platform".
#define COPENCL_NO_LOADER (-1001)

#endif
