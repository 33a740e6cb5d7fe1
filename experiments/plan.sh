#!/bin/sh
# The runs that plan.md describes, part by part, as in
#     sh experiments/plan.sh search
# CIFAR10 and SIRST name the data, OUT the place of the runs. Stopped, it goes on where it stopped.
# Two processes of one thread each share the seeds of a grid; the report is made when both have ended.
set -eu
: "${CIFAR10:=cifar10-jpeg.zip}" "${SIRST:=sirst.zip}" "${OUT:=runs/evidence}" "${PYTHON:=python}"
export OMP_NUM_THREADS=1

ablation() { # ablation DIRECTORY "SEEDS" "SEEDS" options
    out=$OUT/$1 first=$2 second=$3
    shift 3
    mkdir -p "$out"
    "$PYTHON" -m gluon_aff ablation --out "$out" --seeds "$first" "$@" >>"$out/first.log" 2>&1 &
    one=$!
    "$PYTHON" -m gluon_aff ablation --out "$out" --seeds "$second" "$@" >>"$out/second.log" 2>&1 &
    two=$!
    both="$one $two"
    wait_for_both
    report "$out" "$first,$second" "$@"
}

wait_for_both() {
    trap 'kill -TERM $both 2>/dev/null || :; wait; exit 130' INT TERM
    for process in $both; do
        wait "$process" || failed=1
    done
    trap - INT TERM
    if [ -n "${failed:-}" ]; then
        echo "stopped or failed: see the logs below $OUT; the same command goes on" >&2
        exit 1
    fi
}

report() { # report DIRECTORY "SEEDS" options
    out=$1 seeds=$2
    shift 2
    "$PYTHON" -m gluon_aff ablation --out "$out" --seeds "$seeds" --report-only "$@"
}

score() { # score NAME CHECKPOINT
    mkdir -p "$OUT/evaluations"
    "$PYTHON" -m gluon_aff evaluate --weights "$2" --data "$SIRST" -j 1 --json "$OUT/evaluations/$1.json"
}

common="--hold-out 5000 --no-mixup --cosine --ema 0.995 -j 1"
five="--dataset folder --strategies add,aff,iaff,aff_global_global,aff_local_local"
data="--data $CIFAR10"
rates=$OUT/search-add,$OUT/search-aff

case ${1:-} in
search) # the learning rates: one process has two strategies, the other three
    both=
    for part in add,iaff aff,aff_global_global,aff_local_local; do
        out=$OUT/search-${part%%,*}
        mkdir -p "$out"
        "$PYTHON" -m gluon_aff ablation --out "$out" --seeds 0 --dataset folder $data --strategies $part --epochs 10 \
            --learning-rates 0.05,0.1,0.2 --search-epochs 5 --search-only \
            -- $common --train-images 20000 --warmup-epochs 1 >>"$out/search.log" 2>&1 &
        both="$both $!"
    done
    wait_for_both
    ;;
pictures)
    ablation pictures 0,2,4,6 1,3,5,7 $five $data --epochs 10 --rates-of $rates \
        -- $common --train-images 20000 --warmup-epochs 2
    ;;
length)
    pair="--dataset folder --strategies add,iaff --rates-of $rates"
    ablation few-images-many-epochs 0,2 1,3 $pair $data --epochs 40 \
        -- $common --train-images 5000 --warmup-epochs 8
    ablation many-images-few-epochs 0,2 1,3 $pair $data --epochs 5 \
        -- $common --train-images 40000 --warmup-epochs 1
    ;;
digits)
    ablation digits 10,12,14,16,18,20,22,24,26,28 11,13,15,17,19,21,23,25,27,29 --dataset digits --epochs 60 \
        -- --hold-out 238 --train-images 200 --resize 16 --batch-size 32 --lr 0.1 --wd 0.0005 --cosine \
        --warmup-epochs 5 --pad 2 --no-mirror --no-mixup --ema 0.95 -j 1
    ;;
sirst)
    ablation sirst 0,2,4,6 1,3,5,7 --host fpn --strategies add,aff --budget table3 --epochs 40 \
        --dataset sirst --data "$SIRST" \
        -- --recipe acm --base-size 160 --crop-size 80 --hold-out 68 --ema 0.99 -j 1
    ;;
sizes) # a process for each strategy; the report needs no training
    for size in "160 80 60" "256 240 45"; do
        set -- $size
        out=$OUT/size-$1
        grid="--out $out --seeds 0 --host fpn --budget table3 --epochs $3 --dataset sirst --data $SIRST"
        more="--recipe acm --base-size $1 --crop-size $2 -j 1"
        mkdir -p "$out"
        both=
        for strategy in add aff; do
            "$PYTHON" -m gluon_aff ablation --strategies $strategy $grid -- $more >>"$out/$strategy.log" 2>&1 &
            both="$both $!"
        done
        wait_for_both
        "$PYTHON" -m gluon_aff ablation --strategies add,aff --report-only $grid -- $more
        for strategy in add aff; do
            cell=$out/cells/fpn-$strategy-r4-b1-s0
            score "sirst-$1-$strategy-best" "$cell"
            score "sirst-$1-$strategy-last" "$cell/checkpoints/epoch-000$3-batch-000000"
        done
    done
    "$PYTHON" experiments/size.py "$OUT"/evaluations/*.json --out "$OUT/size.png"
    ;;
sheets)
    cells=$OUT/pictures/cells
    aff=$cells/resnet-aff-r2-b1-s0 iaff=$cells/resnet-iaff-r4-b1-s0
    "$PYTHON" -m gluon_aff gradcam --weights "$cells/resnet-add-r4-b1-s0" --compare "$aff,$iaff" \
        --names add,AFF,iAFF --images "$CIFAR10" --count 10 --out "$OUT/gradcam-cifar"
    "$PYTHON" -m gluon_aff attention --weights "$aff" --images "$CIFAR10" --count 4 --out "$OUT/attention-aff"
    "$PYTHON" -m gluon_aff attention --weights "$iaff" --images "$CIFAR10" --count 4 --out "$OUT/attention-iaff"
    cells=$OUT/sirst/cells
    "$PYTHON" -m gluon_aff gradcam --weights "$cells/fpn-add-r4-b1-s0" --compare "$cells/fpn-aff-r4-b1-s0" \
        --names add,AFF --images "$SIRST" --count 8 --out "$OUT/gradcam-sirst"
    "$PYTHON" -m gluon_aff attention --weights "$cells/fpn-aff-r4-b1-s0" --images "$SIRST" --count 4 \
        --out "$OUT/attention-sirst"
    ;;
*)
    echo "usage: sh $0 search|pictures|length|digits|sirst|sizes|sheets" >&2
    exit 2
    ;;
esac
