#!/bin/sh
# Tiny Shakespeare (tinyshakespeare/input.txt) as texts with classes: who of six says them. For recipes/encoder/speakers.yaml and quill-*.yaml.
#
#   scripts/speakers.sh INPUT FOLDER
#
# FOLDER gets test.tsv, every fifth speech of the six, and speakers.tsv, the others: label, the first line as text, the rest of the speech as
# more. unlabelled.tsv has all lines of the speeches in speakers.tsv, each with the line that follows, and no names.
set -eu
[ $# -eq 2 ] || { echo "usage: $0 INPUT FOLDER" >&2; exit 64; }
mkdir -p "$2"
awk -v folder="$2" '
BEGIN {
    RS = ""; FS = "\n"
    n = split("GLOUCESTER,DUKE VINCENTIO,KING RICHARD II,MENENIUS,PETRUCHIO,ROMEO", names, ",")
    for (i = 1; i <= n; i++) wanted[names[i] ":"] = names[i]
    # Speeches stand play by play: mixed, so that the first ones are of all speakers.
    mixed = "sort -n | cut -f 2- >> \"" folder "/speakers.tsv\""
    print "label\ttext\tmore" > (folder "/speakers.tsv")
    close(folder "/speakers.tsv")
    print "label\ttext\tmore" > (folder "/test.tsv")
    print "text\tmore" > (folder "/unlabelled.tsv")
}
function clean(s) { gsub(/[\t"]/, " ", s); return s }
($1 in wanted) && NF > 2 {
    rest = $3
    for (i = 4; i <= NF; i++) rest = rest " " $i
    row = wanted[$1] "\t" clean($2) "\t" clean(rest)
    if (++count % 5 == 0) {
        print row > (folder "/test.tsv")
        next
    }
    print count * 7919 % 10007 "\t" row | mixed
    for (i = 2; i < NF; i++) print clean($i) "\t" clean($(i + 1)) > (folder "/unlabelled.tsv")
}' "$1"
