#!/usr/bin/env bash
# Runs recipes/methods.yaml and writes docs/METHODS.md from it: what `make methods DATA=FOLDER` does.
#   scripts/methods.sh RETORT DATA_FOLDER [further arguments of `retort train`]
set -euo pipefail
cd "$(dirname "$0")/.."
retort=$1 data=${2:-}
shift 2
if [ ! -d "$data" ]; then
    echo "make methods wants the folder with Fashion-MNIST's four files: make methods DATA=FOLDER" >&2
    exit 66
fi
run=runs/methods-$(date -u +%Y-%m-%d)
"$retort" train recipes/methods.yaml "data.path=$data" --output "$run" "$@"
table=$("$retort" report "$run" --methods)
device=$(sed -n 's/^  "device_summary": "\(.*\)",*$/\1/p' "$run/manifest.json")
{
    sed '/<!-- table -->/q' docs/METHODS.md
    printf '\nOf %s, %s.\n\n%s\n\n' "$(date -u +%Y-%m-%d)" "$device" "$table"
    sed -n '/<!-- \/table -->/,$p' docs/METHODS.md
} >docs/METHODS.md.new
mv docs/METHODS.md.new docs/METHODS.md
