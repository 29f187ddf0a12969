#!/bin/sh
# Lays the corpus of every fuzz target into fuzz/corpus/TARGET, from fixtures/ and the seeds in src/fuzzing.
set -eu
cd "$(dirname "$0")/.."
ESXPREP_FUZZ_CORPUS="$PWD/fuzz/corpus" cargo test --quiet --test fuzz_bounded lays_the_corpus
for folder in fuzz/corpus/*/; do
    echo "$folder: $(ls "$folder" | wc -l)"
done
