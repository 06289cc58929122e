// Threads that share the row kernels' work. Between two calls they look out for the next one for a while before they sleep: a call of
// 20 µs is worth sharing only with a thread that is awake.
#define _GNU_SOURCE
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "CRows.h"

// How long a thread looks out, in nanoseconds: longer than what lies between two ops of a step, too short to matter to others.
#define LOOKOUT 50000
#define MOST_HELPERS 255

typedef struct {
    // Counts the calls this helper takes part in; what it waits for.
    _Alignas(64) _Atomic(unsigned) call;
    _Atomic(int) sleeps;
    int part;
} helper_t;

static helper_t helpers[MOST_HELPERS];
static int started;
static pthread_mutex_t taken = PTHREAD_MUTEX_INITIALIZER;

// The call that is being worked at. Only its own helpers read it, and it stays until the last of them is done.
static crows_body body;
static void *context;
static _Alignas(64) _Atomic(unsigned) left;
static _Atomic(int) owner_sleeps;

static void relax(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ __volatile__("yield");
#endif
}

static long long nanoseconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

// Returns once *word is no longer `value`; `sleeps` tells who changes it whether waking is needed.
static void await_change(_Atomic(unsigned) *word, unsigned value, _Atomic(int) *sleeps) {
    long long end = nanoseconds() + LOOKOUT;
    do {
        for (int i = 0; i < 32; i++) {
            if (atomic_load_explicit(word, memory_order_acquire) != value) return;
            relax();
        }
    } while (nanoseconds() < end);
    atomic_store(sleeps, 1);
    while (atomic_load(word) == value) syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, NULL, NULL, 0);
    atomic_store(sleeps, 0);
}

static void wake(_Atomic(unsigned) *word, _Atomic(int) *sleeps) {
    if (atomic_load(sleeps)) syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

static void *work(void *argument) {
    helper_t *self = argument;
    for (unsigned seen = 0;; seen++) {
        await_change(&self->call, seen, &self->sleeps);
        body(context, self->part);
        if (atomic_fetch_sub(&left, 1) == 1) wake(&left, &owner_sleeps);
    }
    return NULL;
}

// Starts helpers until there are so many; how many there are. Signals stay with the threads of the program.
static int helpers_of(int wanted) {
    sigset_t all, before;
    if (started >= wanted) return started;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    for (; started < wanted; started++) {
        pthread_t thread;
        helpers[started].part = started + 1;
        if (pthread_create(&thread, NULL, work, &helpers[started])) break;
        pthread_detach(thread);
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return started;
}

int crows_share(int parts, crows_body function, void *argument) {
    if (parts < 1 || parts - 1 > MOST_HELPERS || pthread_mutex_trylock(&taken)) return 0;
    int count = parts - 1;
    if (helpers_of(count) < count) {
        pthread_mutex_unlock(&taken);
        return 0;
    }
    body = function;
    context = argument;
    atomic_store(&left, (unsigned)count);
    for (int i = 0; i < count; i++) {
        atomic_fetch_add(&helpers[i].call, 1);
        wake(&helpers[i].call, &helpers[i].sleeps);
    }
    function(argument, 0);
    for (unsigned rest = atomic_load(&left); rest; rest = atomic_load(&left)) await_change(&left, rest, &owner_sleeps);
    pthread_mutex_unlock(&taken);
    return 1;
}
