#!/usr/bin/env bash
# All that wants a card, in one go. What is done is passed over: run it again after a stop.
#
#   recipes/gpu.sh DATA OUT [base|small|toy]
#
# DATA holds corpus/ (part-*.jsonl.zst) and terms/ (*.tsv.gz); OUT/shards may be brought ready
# made. "toy" takes the same path on a CPU in a few minutes. docs/scale.md tells what to do with
# OUT/encoder-*.
set -euo pipefail

data=$(realpath "$1")
mkdir -p "$2"
out=$(realpath "$2")
size=${3:-base}
root=$(realpath "$(dirname "$0")/..")
export PYTHONPATH=$root TOKENIZERS_PARALLELISM=false
cd "$out"

cp "$root/recipes/pretrain-$([ "$size" = toy ] && echo toy || echo gpu).toml" pretrain.toml
cp "$root/recipes/tune-$([ "$size" = toy ] && echo toy || echo gpu).toml" tune.toml
device=cuda counts=100000,1000000,10000000 tokens=5120000 batch=64 sizes=small,base
if [ "$size" = toy ]; then
    device=cpu counts=12000 tokens=512 batch=4 sizes=tiny
else
    sed -i "s/^size = .*/size = \"$size\"/" pretrain.toml tune.toml
    sed -i "s|^start = .*|start = \"pretrain-$size/model\"|" tune.toml
fi

# Runs a command whose output is the result, once.
once() {
    local result=$1
    shift
    if [ ! -s "$result" ]; then
        "$@" | tee "$result.part"
        mv "$result.part" "$result"
    fi
}

if [ ! -f shards/shards.json ]; then
    cmsearch train corpus "$data/corpus" --terms "$data/terms" \
        --tokenizer "$root/cmsearch/encoder/model/tokenizer.json" --out shards
fi
cmsearch train pretrain pretrain.toml --shards shards --out "pretrain-$size"
cmsearch train tune tune.toml --terms "$data/terms" --corpus "$data/corpus" --out "tune-$size"
cmsearch train export "tune-$size/model" --out "encoder-$size" --name "gpu-$size"
once "utilisation-$size.md" python -m benchmarks.utilisation pretrain.toml --shards shards
once device-search.md python -m benchmarks.device_search --device $device --counts $counts
once varlen.md python -m benchmarks.varlen --shards shards --device $device --batch $batch --sizes $sizes
once figure3.md python -m benchmarks.figure3 --out figure3 --device $device --tokens $tokens \
    --lengths 512 --notes 10000,25000,50000,100000 --growth ""
