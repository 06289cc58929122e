#!/bin/sh
# A WordPiece vocabulary of single characters: words are spelled, and a small encoder learns to guess letters in minutes. For
# recipes/encoder/masked.yaml.
#
#   scripts/spelling.sh FOLDER
set -eu
[ $# -eq 1 ] || { echo "usage: $0 FOLDER" >&2; exit 64; }
mkdir -p "$1"
letters="a b c d e f g h i j k l m n o p q r s t u v w x y z"
{
    printf '%s\n' '[PAD]' '[UNK]' '[CLS]' '[SEP]' '[MASK]'
    printf '%s\n' 0 1 2 3 4 5 6 7 8 9 '!' '$' '&' "'" , - . : ';' '?'
    printf '%s\n' $letters
    printf '##%s\n' $letters 0 1 2 3 4 5 6 7 8 9
} > "$1/vocab.txt"
