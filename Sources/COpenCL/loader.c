// System headers first: COpenCL.h declares what it includes as hidden.
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "COpenCL.h"

static void *library;
static char load_error[512];
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void load(void) {
    // RETORT_OPENCL_LIBRARY names another loader (tests use it to play a machine without OpenCL).
    const char *chosen = getenv("RETORT_OPENCL_LIBRARY");
    library = dlopen(chosen ? chosen : "libOpenCL.so.1", RTLD_NOW | RTLD_LOCAL);
    if (!library && !chosen) library = dlopen("libOpenCL.so", RTLD_NOW | RTLD_LOCAL);
    if (!library) snprintf(load_error, sizeof load_error, "%s", dlerror());
}

const char *copencl_load_error(void) {
    pthread_once(&once, load);
    return library ? NULL : load_error;
}

static void *symbol(const char *name) {
    pthread_once(&once, load);
    return library ? dlsym(library, name) : NULL;
}

// One stub per entry point. The pointer is looked up once; a race writes the same value twice.
#define STUB(type, name, parameters, arguments, missing)          \
    type CL_API_CALL name parameters {                            \
        static type(CL_API_CALL *entry) parameters;               \
        if (!entry) entry = (type(CL_API_CALL *) parameters)symbol(#name); \
        if (!entry) missing;                                      \
        return entry arguments;                                   \
    }
#define STATUS(name, parameters, arguments) STUB(cl_int, name, parameters, arguments, return COPENCL_NO_LOADER)
#define HANDLE(type, name, parameters, arguments) \
    STUB(type, name, parameters, arguments, { if (status) *status = COPENCL_NO_LOADER; return NULL; })

STATUS(clGetPlatformIDs, (cl_uint n, cl_platform_id *ids, cl_uint *count), (n, ids, count))
STATUS(clGetPlatformInfo, (cl_platform_id p, cl_platform_info i, size_t n, void *v, size_t *r), (p, i, n, v, r))
STATUS(clGetDeviceIDs, (cl_platform_id p, cl_device_type t, cl_uint n, cl_device_id *d, cl_uint *c), (p, t, n, d, c))
STATUS(clGetDeviceInfo, (cl_device_id d, cl_device_info i, size_t n, void *v, size_t *r), (d, i, n, v, r))
HANDLE(cl_context, clCreateContext,
       (const cl_context_properties *p, cl_uint n, const cl_device_id *d,
        void(CL_CALLBACK *f)(const char *, const void *, size_t, void *), void *u, cl_int *status),
       (p, n, d, f, u, status))
STATUS(clReleaseContext, (cl_context c), (c))
HANDLE(cl_command_queue, clCreateCommandQueue,
       (cl_context c, cl_device_id d, cl_command_queue_properties p, cl_int *status), (c, d, p, status))
STATUS(clReleaseCommandQueue, (cl_command_queue q), (q))
HANDLE(cl_mem, clCreateBuffer, (cl_context c, cl_mem_flags f, size_t n, void *h, cl_int *status), (c, f, n, h, status))
STATUS(clReleaseMemObject, (cl_mem m), (m))
STATUS(clSetMemObjectDestructorCallback, (cl_mem m, void(CL_CALLBACK *f)(cl_mem, void *), void *u), (m, f, u))
HANDLE(cl_program, clCreateProgramWithSource,
       (cl_context c, cl_uint n, const char **s, const size_t *l, cl_int *status), (c, n, s, l, status))
HANDLE(cl_program, clCreateProgramWithBinary,
       (cl_context c, cl_uint n, const cl_device_id *d, const size_t *l, const unsigned char **b, cl_int *bs,
        cl_int *status),
       (c, n, d, l, b, bs, status))
STATUS(clBuildProgram,
       (cl_program p, cl_uint n, const cl_device_id *d, const char *o, void(CL_CALLBACK *f)(cl_program, void *), void *u),
       (p, n, d, o, f, u))
STATUS(clGetProgramInfo, (cl_program p, cl_program_info i, size_t n, void *v, size_t *r), (p, i, n, v, r))
STATUS(clGetProgramBuildInfo, (cl_program p, cl_device_id d, cl_program_build_info i, size_t n, void *v, size_t *r),
       (p, d, i, n, v, r))
STATUS(clReleaseProgram, (cl_program p), (p))
HANDLE(cl_kernel, clCreateKernel, (cl_program p, const char *n, cl_int *status), (p, n, status))
STATUS(clSetKernelArg, (cl_kernel k, cl_uint i, size_t n, const void *v), (k, i, n, v))
STATUS(clGetKernelWorkGroupInfo,
       (cl_kernel k, cl_device_id d, cl_kernel_work_group_info i, size_t n, void *v, size_t *r), (k, d, i, n, v, r))
STATUS(clReleaseKernel, (cl_kernel k), (k))
STATUS(clEnqueueNDRangeKernel,
       (cl_command_queue q, cl_kernel k, cl_uint d, const size_t *o, const size_t *g, const size_t *l, cl_uint n,
        const cl_event *w, cl_event *e),
       (q, k, d, o, g, l, n, w, e))
STATUS(clEnqueueReadBuffer,
       (cl_command_queue q, cl_mem m, cl_bool b, size_t o, size_t s, void *p, cl_uint n, const cl_event *w, cl_event *e),
       (q, m, b, o, s, p, n, w, e))
STATUS(clEnqueueWriteBuffer,
       (cl_command_queue q, cl_mem m, cl_bool b, size_t o, size_t s, const void *p, cl_uint n, const cl_event *w,
        cl_event *e),
       (q, m, b, o, s, p, n, w, e))
STATUS(clEnqueueCopyBuffer,
       (cl_command_queue q, cl_mem a, cl_mem b, size_t x, size_t y, size_t s, cl_uint n, const cl_event *w, cl_event *e),
       (q, a, b, x, y, s, n, w, e))
HANDLE(void *, clEnqueueMapBuffer,
       (cl_command_queue q, cl_mem m, cl_bool b, cl_map_flags f, size_t o, size_t s, cl_uint n, const cl_event *w,
        cl_event *e, cl_int *status),
       (q, m, b, f, o, s, n, w, e, status))
STATUS(clEnqueueUnmapMemObject,
       (cl_command_queue q, cl_mem m, void *p, cl_uint n, const cl_event *w, cl_event *e), (q, m, p, n, w, e))
STATUS(clEnqueueMarkerWithWaitList, (cl_command_queue q, cl_uint n, const cl_event *w, cl_event *e), (q, n, w, e))
STATUS(clFlush, (cl_command_queue q), (q))
STATUS(clFinish, (cl_command_queue q), (q))
STATUS(clWaitForEvents, (cl_uint n, const cl_event *e), (n, e))
STATUS(clGetEventProfilingInfo, (cl_event e, cl_profiling_info i, size_t n, void *v, size_t *r), (e, i, n, v, r))
STATUS(clReleaseEvent, (cl_event e), (e))
