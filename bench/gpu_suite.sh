#!/usr/bin/env bash
# Everything that only a GPU can show, in one call:
#
#     bench/gpu_suite.sh [--dry-run] [--only STEP]... [RESULTS]
#
# Builds, runs the tests, looks for bad memory accesses, measures the card's ceilings, the neurons
# and whole networks. JSON goes to RESULTS (default bench/results/<device name>), logs to
# RESULTS/logs. Each step has a time limit and runs whatever became of the others; the summary says
# how each ended, and the exit status is 0 only if all went well. Clocks, power and modes of the
# card are left as they are.
#
# --dry-run: on the CPU, at smoke size, without the build and the sanitizer: checks this script.
# --only:    one of the steps versions, build, tests, sanitizer, peaks, kernels, backward, throughput.
# PYTHON:    the interpreter, default python3; it must have torch.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 2

STEPS="versions build tests sanitizer peaks kernels backward throughput"
PYTHON=${PYTHON:-python3}
device=cuda
only=""
results=""
smoke=()

usage() {
    sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "${BASH_SOURCE[0]}"
}

while (($#)); do
    case $1 in
        --dry-run)
            device=cpu
            smoke=(--smoke)
            ;;
        --only)
            if (($# < 2)) || [[ " $STEPS " != *" $2 "* ]]; then
                echo "gpu_suite: --only wants one of: $STEPS" >&2
                exit 2
            fi
            only+=" $2"
            shift
            ;;
        -h | --help)
            usage
            exit 0
            ;;
        -*)
            echo "gpu_suite: unknown option $1; see --help" >&2
            exit 2
            ;;
        *) results=$1 ;;
    esac
    shift
done

find_device='
import re, sys, torch
if not torch.cuda.is_available():
    sys.exit("gpu_suite: torch sees no GPU; --dry-run checks the script on a CPU")
major, minor = torch.cuda.get_device_capability()
print(re.sub(r"[^a-z0-9]+", "-", torch.cuda.get_device_name().lower()).strip("-"), f"{major}.{minor}")
'
if [[ $device == cuda ]]; then
    found=$("$PYTHON" -c "$find_device") || exit 2
    read -r name capability <<<"$found"
else
    name=dry-run
    capability=none
fi
results=${results:-bench/results/$name}
logs=$results/logs
mkdir -p "$logs" || exit 2

summary=()
failed=0

wanted() {
    [[ -z $only || " $only " == *" $1 "* ]]
}

# run STEP SECONDS COMMAND...: the command with a time limit; its output goes to the screen and to
# a log named after the step. A second run of a step is told apart by the text after a colon.
run() {
    local step=$1 limit=$2 started=$SECONDS status log
    shift 2
    wanted "${step%%:*}" || return 0
    log=$logs/${step//[: \/]/-}.log
    printf '\n== %s (at most %s s): %s\n' "$step" "$limit" "$*"
    timeout --kill-after=10 "$limit" "$@" 2>&1 | tee "$log"
    status=${PIPESTATUS[0]}
    case $status in
        0) note "$step" ok "$started" ;;
        124 | 137) note "$step" "STOPPED after $limit s" "$started" && failed=1 ;;
        *) note "$step" "FAILED ($status)" "$started" && failed=1 ;;
    esac
    return 0
}

note() {
    summary+=("$(printf '%-36s %-22s %4d s' "$1" "$2" $((SECONDS - $3)))")
}

skip() {
    wanted "${1%%:*}" || return 0
    note "$1" "skipped: $2" "$SECONDS"
}

# -- what this is ---------------------------------------------------------------------------------
run versions 60 "$PYTHON" -m spikeconv
run versions:packages 60 "$PYTHON" -m pip list --format=freeze
if [[ $device == cuda ]]; then
    run versions:card 30 nvidia-smi
    run versions:nvcc 30 nvcc --version
fi

# -- correct first --------------------------------------------------------------------------------
if [[ $device == cuda ]]; then
    run build 540 env SPIKECONV_CUDA=1 TORCH_CUDA_ARCH_LIST="${TORCH_CUDA_ARCH_LIST:-$capability}" \
        "$PYTHON" -m pip install --no-build-isolation --no-deps -e .
    run tests 540 "$PYTHON" -m pytest -q -rs tests
    if command -v compute-sanitizer >/dev/null; then
        # Without torch's cache every tensor is an allocation of its own, so that one step past its
        # end is seen.
        for tool in memcheck racecheck; do
            run "sanitizer:$tool" 300 env PYTORCH_NO_CUDA_MEMORY_CACHING=1 \
                compute-sanitizer --tool "$tool" --error-exitcode 9 "$PYTHON" bench/small_case.py
        done
    else
        skip sanitizer "no compute-sanitizer on the PATH"
    fi
else
    skip build "dry run"
    run tests 540 "$PYTHON" -m pytest -q tests/bench/test_bench_timing.py
    run sanitizer 120 "$PYTHON" bench/small_case.py --device cpu
fi

# -- then fast ------------------------------------------------------------------------------------
run peaks 120 "$PYTHON" bench/peaks.py --device "$device" "${smoke[@]}" --json "$results/peaks.json"

kernels() { # T N
    run "kernels:T$1-N$2" 300 "$PYTHON" bench/kernels.py --device "$device" --T "$1" --N "$2" \
        --dtypes float32 bfloat16 float16 "${smoke[@]}" --json "$results/kernels-T$1-N$2.json"
}
kernels 16 $((1 << 22))
if [[ $device == cuda ]]; then
    kernels 4 $((1 << 24))
    kernels 16 $((1 << 25))
    kernels 32 $((1 << 24))
fi

backward() { # T N
    run "backward:T$1-N$2" 300 "$PYTHON" bench/backward.py --device "$device" --T "$1" --N "$2" \
        --dtypes float32 bfloat16 float16 "${smoke[@]}" --json "$results/backward-T$1-N$2.json"
}
backward 4 $((1 << 22))
if [[ $device == cuda ]]; then
    backward 16 $((1 << 22))
fi

throughput() { # model image-size batch T
    run "throughput:$1-$2px-b$3-T$4" 300 "$PYTHON" bench/throughput.py --device "$device" \
        --model "$1" --image-size "$2" --batch "$3" --T "$4" "${smoke[@]}" \
        --json "$results/throughput-$1-$2px-b$3-T$4.json"
}
throughput resnet20 32 64 16
if [[ $device == cuda ]]; then
    for T in 4 32; do throughput resnet20 32 64 "$T"; done
    throughput resnet20 32 256 16
    for batch in 1 64; do throughput resnet18 224 "$batch" 16; done
    throughput vgg16 224 16 16
fi

run drop-in 540 "$PYTHON" bench/drop_in.py --device "$device" "${smoke[@]}" \
    --json "$results/drop_in.json"

printf '\n== summary, results in %s\n' "$results"
printf '%s\n' "${summary[@]}"
exit "$failed"
