#!/usr/bin/env bash
# Runs every kernel of both portable families, and the products of nvptx, at tiny odd sizes on Oclgrind, an OpenCL device that checks each memory access:
# bounds, data races, reads of uninitialised memory, wrong use of the API. Oclgrind itself ends with 0 whatever it saw, so any
# line in its log is a failure. FAMILIES="simt" runs one; further arguments go to `retort test-ops test`.
set -euo pipefail
cd "$(dirname "$0")/.."

launcher=$(command -v oclgrind) || { echo "oclgrind is not installed: scripts/setup.sh oclgrind" >&2; exit 1; }
# Retort opens its OpenCL loader by name at run time, so Oclgrind's usual LD_PRELOAD does not reach it: name the library.
runtime=$(dirname "$(dirname "$(readlink -f "$launcher")")")/lib/oclgrind/liboclgrind-rt.so
if [ ! -e "$runtime" ]; then
    runtime=$(find /usr/lib /usr/local/lib /opt -name liboclgrind-rt.so 2>/dev/null | head -n 1)
    [ -n "$runtime" ] || { echo "oclgrind is here, its liboclgrind-rt.so was not found" >&2; exit 1; }
fi

swift build -c release --product retort
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

failed=0
for family in ${FAMILIES:-vector simt nvptx}; do
    # What nvptx has of its own.
    only=()
    [ "$family" != nvptx ] || only=(--op matmul)
    log=$work/$family.log
    start=$SECONDS
    status=0
    family_failed=0
    # Oclgrind adds up the local memory of all kernels of a program, hence the size; make lint checks 32 KiB per kernel.
    # Buffers of their own show every access beyond an operand; it also loses track of what is written into parts of a buffer.
    # Optimised code holds an instruction (freeze) that its interpreter does not know; prefetching is another, and what
    # functions leave behind that are inlined without optimisation (noalias scopes) a third.
    RETORT_OPENCL_LIBRARY=$runtime RETORT_FAMILY=$family RETORT_KERNEL_CACHE=$work/cache \
        RETORT_KERNEL_OPTIONS="-cl-opt-disable -DWITHOUT_PREFETCH -DATTENTION_INLINE=" RETORT_ISOLATED_BUFFERS=1 \
        oclgrind --data-races --uninitialized --check-api --local-mem-size 262144 --log "$log" \
        .build/release/retort test-ops test --tiny --device opencl:0 "${only[@]}" "$@" || status=$?
    if [ "$status" -ne 0 ]; then
        echo "oclgrind: family $family: the program ended with $status" >&2
        family_failed=1
    fi
    if [ -s "$log" ]; then
        echo "oclgrind: family $family: reports, the first of them:" >&2
        head -n 60 "$log" >&2
        kept=oclgrind-$family.log
        mkdir -p .build && cp "$log" ".build/$kept"
        echo "oclgrind: all of them: .build/$kept ($(grep -c 'Kernel:' "$log" || true) reports)" >&2
        family_failed=1
    fi
    if [ "$family_failed" -eq 0 ]; then
        echo "oclgrind: family $family: no report ($((SECONDS - start)) s)"
    else
        failed=1
    fi
done
exit "$failed"
