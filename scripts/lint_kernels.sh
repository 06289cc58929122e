#!/usr/bin/env bash
# Keeps the kernels portable without any of the devices: every kernels/*.cl is compiled, for each family (and once more for bf16
# activations where it has some), by each clang target that is installed (nvptx64, amdgcn, spir64), as OpenCL C 1.2 with warnings as
# errors; then rules that a compiler does not know.
# CLANG names another compiler; KERNELS another folder (the script's own check uses it).
set -euo pipefail
cd "$(dirname "$0")/.."
kernels=${KERNELS:-kernels}
local_memory_limit=32768 # bytes per kernel, the portable floor
work_group_limit=256     # work-items, the portable floor

failures=0
complain() {
    printf '%s\n' "$*" >&2
    failures=$((failures + 1))
}

shopt -s nullglob
files=("$kernels"/*.cl)
if [ ${#files[@]} -eq 0 ]; then
    echo "lint_kernels: no kernels/*.cl"
    exit 0
fi

# --- Rules -----------------------------------------------------------------------------------------------------------------------

# Blanks comments, keeping line numbers.
without_comments() {
    awk '{
        line = $0; out = ""
        while (length(line)) {
            if (inside) {
                at = index(line, "*/")
                if (!at) { line = ""; break }
                inside = 0; line = substr(line, at + 2); continue
            }
            a = index(line, "/*"); b = index(line, "//")
            if (b && (!a || b < a)) { out = out substr(line, 1, b - 1); line = ""; break }
            if (!a) { out = out line; line = ""; break }
            out = out substr(line, 1, a - 1) " "; line = substr(line, a + 2); inside = 1
        }
        print out
    }' "$1"
}

rule() { # pattern, why
    local hits
    hits=$(without_comments "$file" | grep -nE "$1" | head -n 5) || true
    [ -z "$hits" ] || while IFS= read -r hit; do complain "$file:${hit%%:*}: $2: ${hit#*:}"; done <<<"$hits"
}

# A work-item that has left waits at no barrier: the others wait for ever, or read what is not there yet. Functions of the headers that hold
# a barrier count as one.
waiting=" barrier $(for header in "$kernels"/*.clh; do without_comments "$header"; done | awk '
    !depth && match($0, /[A-Za-z_][A-Za-z0-9_]* *\(/) { name = substr($0, RSTART, RLENGTH); sub(/ *\(/, "", name) }
    { opened = gsub(/[{]/, "&"); if (/barrier *\(/ && !/^#/) print name; depth += opened - gsub(/[}]/, "&") }' |
    sort -u | tr '\n' ' ')"
returns_before_barriers() {
    local hit
    while read -r hit; do complain "$file:${hit%% *}: a barrier after the return in line ${hit##* }"; done < <(
        without_comments "$file" | awk -v waiting="$waiting" '{
            line = $0
            while (match(line, /[{};]|[A-Za-z_][A-Za-z0-9_]*/)) {
                token = substr(line, RSTART, RLENGTH); line = substr(line, RSTART + RLENGTH)
                if (token == "{") depth++
                else if (token == "}") { if (depth) depth-- }
                # What a return calls comes before it.
                else if (token == "return") leaves = NR
                else if (token == ";") { if (leaves) left = leaves; leaves = 0 }
                else if (left && depth && index(waiting, " " token " ")) print NR, left
                if (!depth) left = 0
            }
        }'
    )
}

for file in "${files[@]}" "$kernels"/*.clh; do
    returns_before_barriers
    rule '(^|[^A-Za-z0-9_])(double(2|3|4|8|16)?|cl_khr_fp64)([^A-Za-z0-9_]|$)' 'no double: many GPUs have none'
    rule 'sub_group|cl_(khr|intel)_subgroups' 'no sub-groups: not in OpenCL C 1.2'
    rule 'atom(ic)?_[a-z]+ *\(.*(float|as_u?int *\()' 'no float atomics: their order is not fixed, results would differ between runs'
    rule '\(f(loat)? *\*\) *atom(ic)?_' 'no float atomics: their order is not fixed, results would differ between runs'
    rule '(^|[^A-Za-z0-9_])printf *\(' 'no printf in a kernel'
done

# --- Cross-compilation -----------------------------------------------------------------------------------------------------------

# The first clang that has a target: Swift's own has no GPU targets, a PoCL installation brings one that has.
candidates=()
[ -z "${CLANG:-}" ] || candidates+=("$CLANG")
candidates+=(clang)
for path in /usr/bin/clang-[0-9]* /usr/lib/llvm-*/bin/clang; do
    case ${path##*/} in clang | clang-[0-9] | clang-[0-9][0-9]) candidates+=("$path") ;; esac
done

clang_for() { # registered target name
    local candidate
    for candidate in "${candidates[@]}"; do
        if command -v "$candidate" >/dev/null 2>&1 &&
            "$candidate" --print-targets 2>/dev/null | grep -qE "^ *$1 "; then
            printf '%s' "$candidate"
            return 0
        fi
    done
    return 1
}

# clang's own declarations of the OpenCL C built-ins are a header that some distributions leave out of the package.
compiles_opencl() { # clang, flags …
    printf '__kernel void k(__global float *p) { p[get_global_id(0)] = exp(p[0]); }\n' |
        "$@" "${dialect[@]}" - -o /dev/null 2>/dev/null
}

# The version macro is the run-time's to define, not clang's.
dialect=(-x cl -cl-std=CL1.2 -Xclang -finclude-default-header -D__OPENCL_VERSION__=120)

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# Compiled in the order in which the program puts them together.
headers=()
for header in prelude.clh math.clh; do [ ! -e "$kernels/$header" ] || headers+=("$kernels/$header"); done

compiled=0
targets=
compile_all() { # name, triple, clang, output flags
    local name=$1 triple=$2 compiler=$3 family families flags
    shift 3
    if ! compiles_opencl "$compiler" -target "$triple" "$@"; then
        echo "lint_kernels: $compiler cannot compile OpenCL C for $name here: skipped"
        return 0
    fi
    for file in "${files[@]}"; do
        # One input, so that messages name real files and lines; each file is independent of the others.
        : >"$work/all.cl"
        for part in "${headers[@]}" "$file"; do
            printf '#line 1 "%s"\n' "$part" >>"$work/all.cl"
            cat "$part" >>"$work/all.cl"
        done
        families=(VECTOR SIMT)
        ! grep -q X_ELEMENT "$file" || families+=("VECTOR -DX_BF16" "SIMT -DX_BF16")
        ! grep -q GEMV_B "$file" || families+=("VECTOR -DB_BF16" "SIMT -DB_BF16 -DVEC=1")
        # Attention: all of it in bf16, or a cache of keys and values alone.
        ! grep -q KV_BF16 "$file" ||
            families+=("SIMT -DQ_BF16=1 -DKV_BF16=1 -DY_BF16=1 -DVEC=1" "SIMT -DKV_BF16=1 -DWIDE=256")
        ! grep -q ATTENTION_DROPOUT "$file" ||
            families+=("VECTOR -DATTENTION_DROPOUT=1" "SIMT -DATTENTION_DROPOUT=1 -DWIDE=256")
        ! grep -q ATTENTION_CAP "$file" ||
            families+=("VECTOR -DATTENTION_CAP=1" "SIMT -DATTENTION_CAP=1 -DWIDE=256"
                "SIMT -DATTENTION_CAP=1 -DATTENTION_DROPOUT=1 -DWIDE=256")
        # Inline PTX for the target that has it, what stands in for it elsewhere.
        if grep -qE 'MATRIX_UNITS|NVPTX' "$file"; then
            family="MATRIX_UNITS -DSIMT -DB_BF16"
            [ "$name" != nvptx64 ] || family+=" -DNVPTX"
            families+=("$family")
        fi
        for family in "${families[@]}"; do
            # shellcheck disable=SC2206 # a family and its options are words
            flags=("${dialect[@]}" -target "$triple" -O1 -DALL -D$family
                -Wall -Werror -Wno-unused-function -Wno-unused-variable -Wno-unknown-pragmas -Wno-pass-failed)
            if ! "$compiler" "${flags[@]}" "$@" "$work/all.cl" -o "$work/out" 2>"$work/errors"; then
                complain "$file: does not compile for $name, family $family ($compiler):"
                head -n 20 "$work/errors" >&2
                continue
            fi
            compiled=$((compiled + 1))
            case "$name $family" in "nvptx64 SIMT"*) check_local_memory "$file" ;; "spir64 "*SIMT*) check_work_groups "$file" ;; esac
        done
    done
    targets="$targets $name"
}

# PTX names a __local array after its kernel: .shared .align 4 .b8 gemm_$_tile[16384];
check_local_memory() {
    local kernel bytes
    # shellcheck disable=SC2016 # the dollar sign is PTX's
    sed -nE 's/^[[:space:]]*\.shared .*[[:space:]]([A-Za-z0-9_]+)_\$_[A-Za-z0-9_$.]+\[([0-9]+)\];.*/\1 \2/p' "$work/out" |
        awk '{ sum[$1] += $2 } END { for (k in sum) print k, sum[k] }' >"$work/local"
    while read -r kernel bytes; do
        [ "$bytes" -le "$local_memory_limit" ] ||
            complain "$1: kernel $kernel takes $bytes bytes of local memory, more than the portable $local_memory_limit"
    done <"$work/local"
}

# LLVM IR says by number what a kernel requires: define … @gemm(… !reqd_work_group_size !8 …, and below !8 = !{i32 256, i32 1, i32 1}
check_work_groups() {
    local kernel items
    awk '/^define .*!reqd_work_group_size/ {
             name = $0; sub(/.*@/, "", name); sub(/\(.*/, "", name)
             number = $0; sub(/.*!reqd_work_group_size !/, "", number); sub(/ .*/, "", number)
             wanted[name] = number
         }
         /^![0-9]+ = !\{i32 [0-9]+, i32 [0-9]+, i32 [0-9]+\}/ {
             number = substr($1, 2); sub(/.*\{/, ""); gsub(/i32|[^0-9,]/, ""); items[number] = $0
         }
         END { for (name in wanted) if (split(items[wanted[name]], n, ",") == 3) print name, n[1] * n[2] * n[3] }' \
        "$work/out" >"$work/groups"
    while read -r kernel items; do
        [ "$items" -le "$work_group_limit" ] ||
            complain "$1: kernel $kernel requires work-groups of $items, more than the portable $work_group_limit"
    done <"$work/groups"
}

if compiler=$(clang_for nvptx64); then compile_all nvptx64 nvptx64-nvidia-nvcl "$compiler" -S; fi
if compiler=$(clang_for amdgcn); then compile_all amdgcn amdgcn-amd-amdhsa "$compiler" -S -mcpu=gfx900 -nogpulib; fi
# SPIR needs no back end: any full clang writes it as LLVM IR.
if compiler=$(clang_for nvptx64); then compile_all spir64 spir64-unknown-unknown "$compiler" -S -emit-llvm; fi

if [ -z "$targets" ]; then
    echo "lint_kernels: no clang with GPU targets is installed (Debian: the one PoCL depends on); checked the rules only"
fi
if [ "$failures" -ne 0 ]; then
    echo "lint_kernels: $failures problems" >&2
    exit 1
fi
echo "lint_kernels: ${#files[@]} files, $compiled builds${targets:+ for}$targets, no problem"
