#!/usr/bin/env bash
# Tests, each file in a process of its own, as many at once as there are cores:
#
#     PYTHON=python bench/side_by_side.sh OPTIONS FILE...
#
# OPTIONS is one word for pytest's, such as "-m gpu". On a GPU most of a test's time is Triton
# compiling on one core. The exit status is 0 if all pass; a file of which OPTIONS choose no test
# (pytest's status 5) is no failure.
export PYTHON options=$1
shift
# shellcheck disable=SC2016  # for the shell of each file; several options in one word
printf '%s\0' "$@" | xargs -0 -P "$(nproc)" -n 1 bash -c \
    '"$PYTHON" -m pytest -q -rs $options "$0" || [ $? = 5 ]'
