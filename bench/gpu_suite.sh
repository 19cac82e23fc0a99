#!/usr/bin/env bash
# Everything that only a GPU can show, in one call:
#
#     bench/gpu_suite.sh [--dry-run] [--only STEP]... [--minutes N] [RESULTS]
#
# Builds, runs the tests, looks for bad memory accesses, measures the card's ceilings, the neurons,
# layers of the integer program and whole networks, and says which goals were reached. JSON goes to
# RESULTS (default bench/results/<device name>), logs to RESULTS/logs. Each step has a time limit and
# runs whatever became of the others; the summary says how each ended, and the exit status is 0 only
# if all went well. Clocks, power and modes of the card are left as they are.
#
# --dry-run: on the CPU, at smoke size, without the build and the sanitizer: checks this script.
# --only:    one of the steps versions, build, tests, sanitizer, peaks, kernels, backward, drop-in,
#            layers, networks, goals.
# --minutes: for all steps together. Each gets a share, and what one leaves goes to those after it.
#            Networks go on where the last call ended: with --only networks --minutes 9 again and
#            again, their table fills up.
# PYTHON:    the interpreter; it must have torch. Default: .venv/bin/python, or python3 where that is
#            not there.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 2

STEPS="versions build tests sanitizer peaks kernels backward drop-in layers networks goals"
[ -x .venv/bin/python ] && usual=.venv/bin/python || usual=python3
PYTHON=${PYTHON:-$usual}
device=cuda
only=""
results=""
budget="" # seconds of all steps together
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
        --minutes)
            budget=$(awk -v minutes="${2:-}" 'BEGIN { print int(60 * minutes) }')
            if ! [[ ${2:-} =~ ^[0-9]+(\.[0-9]+)?$ ]] || ((budget < 1)); then
                echo "gpu_suite: --minutes wants a number above 0" >&2
                exit 2
            fi
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
at_least=${SECONDS_AT_LEAST:-30} # of a step, however small its share
weights=0                        # of what is queued and has not run yet
queue_names=() queue_weights=() queue_limits=() queue_commands=()

wanted() {
    [[ -z $only || " $only " == *" $1 "* ]]
}

# queue STEP WEIGHT SECONDS COMMAND...: to run later, for so many seconds at most, or for its share
# of --minutes by weight. A second command of a step is told apart by the text after a colon. In the
# command MINUTES stands for the minutes that it gets.
queue() {
    wanted "${1%%:*}" || return 0
    queue_names+=("$1") queue_weights+=("$2") queue_limits+=("$3")
    weights=$((weights + $2))
    shift 3
    queue_commands+=("$(printf '%q ' "$@")")
}

note() {
    summary+=("$(printf '%-36s %-22s %4d s' "$1" "$2" $((SECONDS - $3)))")
}

skip() {
    wanted "${1%%:*}" || return 0
    note "$1" "skipped: $2" "$SECONDS"
}

# Run what is queued; output goes to the screen and to a log named after the step.
run_all() {
    local i step limit share started status log command
    for i in "${!queue_names[@]}"; do
        step=${queue_names[i]} limit=${queue_limits[i]} started=$SECONDS
        if [[ -n $budget ]]; then
            share=$(((budget - SECONDS) * queue_weights[i] / weights))
            ((share < at_least)) && share=$at_least
            ((share > budget - SECONDS)) && share=$((budget - SECONDS))
            ((share < limit)) && limit=$share
            weights=$((weights - queue_weights[i]))
            if ((limit < 1)); then
                note "$step" "skipped: no time" "$started"
                failed=1
                continue
            fi
        fi
        # A network that is begun in time takes a while to end.
        command=${queue_commands[i]/MINUTES/$(awk "BEGIN { print ($limit > 90 ? $limit - 60 : $limit / 3) / 60 }")}
        log=$logs/${step//[: \/]/-}.log
        printf '\n== %s (at most %s s): %s\n' "$step" "$limit" "$command"
        timeout --kill-after=10 "$limit" bash -c "$command" 2>&1 | tee "$log"
        status=${PIPESTATUS[0]}
        case $status in
            0) note "$step" ok "$started" ;;
            75) note "$step" "PARTLY: run it again" "$started" && failed=1 ;;
            124 | 137) note "$step" "STOPPED after $limit s" "$started" && failed=1 ;;
            *) note "$step" "FAILED ($status)" "$started" && failed=1 ;;
        esac
    done
}

# -- what this is ---------------------------------------------------------------------------------
queue versions 1 60 "$PYTHON" -m spikeconv
queue versions:packages 1 60 "$PYTHON" -m pip list --format=freeze
if [[ $device == cuda ]]; then
    queue versions:card 1 30 nvidia-smi
    queue versions:nvcc 1 30 nvcc --version
fi

# -- correct first --------------------------------------------------------------------------------
if [[ $device == cuda ]]; then
    queue build 60 540 env SPIKECONV_CUDA=1 TORCH_CUDA_ARCH_LIST="${TORCH_CUDA_ARCH_LIST:-$capability}" \
        "$PYTHON" -m pip install --no-build-isolation --no-deps -e .
    mapfile -t marked < <(grep -rl --include='test_*.py' 'mark.gpu' tests)
    queue tests:gpu 60 900 env PYTHON="$PYTHON" bench/side_by_side.sh "-m gpu" "${marked[@]}"
    # What runs in Triton's interpreter elsewhere is compiled here.
    queue tests:kernels 40 900 env PYTHON="$PYTHON" bench/side_by_side.sh "" \
        tests/kernels/test_*.py tests/fuse/test_gpu_*.py tests/fuse/test_engines.py \
        tests/fuse/test_timed_runs.py
    # On any machine the same, so no time of a lease is for it.
    [[ -n $budget ]] || queue tests:all 60 1800 "$PYTHON" -m pytest -q -rs tests
    if command -v compute-sanitizer >/dev/null; then
        # Without torch's cache every tensor is an allocation of its own, so that one step past its
        # end is seen.
        for tool in memcheck racecheck; do
            for case in small_case small_fused; do
                queue "sanitizer:$tool-$case" 8 300 env PYTORCH_NO_CUDA_MEMORY_CACHING=1 \
                    compute-sanitizer --tool "$tool" --error-exitcode 9 "$PYTHON" "bench/$case.py"
            done
        done
    else
        skip sanitizer "no compute-sanitizer on the PATH"
    fi
else
    skip build "dry run"
    queue tests 1 540 "$PYTHON" -m pytest -q tests/bench/test_bench_timing.py
    queue sanitizer 1 120 "$PYTHON" bench/small_case.py --device cpu
    queue sanitizer:fused 1 300 "$PYTHON" bench/small_fused.py --device cpu
fi

# -- then fast ------------------------------------------------------------------------------------
queue peaks 5 180 "$PYTHON" bench/peaks.py --device "$device" "${smoke[@]}" \
    --json "$results/peaks.json"

kernels() { # T N WEIGHT [OPTIONS...]
    queue "kernels:T$1-N$2" "$3" 300 "$PYTHON" bench/kernels.py --device "$device" --T "$1" \
        --N "$2" --dtypes float32 bfloat16 float16 "${@:4}" "${smoke[@]}" \
        --json "$results/kernels-T$1-N$2.json"
}
# Beside code that torch compiles, which takes it a quarter of a minute each, once.
kernels 16 $((1 << 22)) 40
if [[ $device == cuda ]]; then
    kernels 4 $((1 << 24)) 8 --eager
    kernels 16 $((1 << 25)) 8 --eager
    kernels 32 $((1 << 24)) 8 --eager
fi

backward() { # T N
    queue "backward:T$1-N$2" 5 300 "$PYTHON" bench/backward.py --device "$device" --T "$1" --N "$2" \
        --dtypes float32 bfloat16 float16 "${smoke[@]}" --json "$results/backward-T$1-N$2.json"
}
backward 4 $((1 << 22))
if [[ $device == cuda ]]; then
    backward 16 $((1 << 22))
fi
queue drop-in 5 540 "$PYTHON" bench/drop_in.py --device "$device" "${smoke[@]}" \
    --json "$results/drop_in.json"
queue layers 20 600 "$PYTHON" bench/gpu_layers.py --device "$device" "${smoke[@]}" \
    --json "$results/gpu-layers.json"
queue networks 150 7200 "$PYTHON" bench/gpu_networks.py --device "$device" "${smoke[@]}" \
    --minutes MINUTES --json "$results/gpu-networks.json"
queue goals 1 30 "$PYTHON" bench/gpu_goals.py "$results"

run_all

printf '\n== summary, results in %s\n' "$results"
printf '%s\n' "${summary[@]}"
exit "$failed"
