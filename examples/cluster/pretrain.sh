#!/bin/bash
# One attempt at a pretraining on all GPUs of this machine; it goes on where the last attempt stopped.
#
#   STORE=stores/ssl4eo-s12 RUN=runs/base bash examples/cluster/pretrain.sh [--set key=value ...]
#
# Exit status: 0 it is done; 75 it was stopped or died after it had made progress (give the same command again); 1 it
# made none, so that the same command again would make none either: read what it said.
#
# RECIPE (seamo-base) names the recipe. LAUNCH starts the ranks; on a cluster see pretrain.sbatch. RUN lies on a disk.
set -u
: "${STORE:?the store to learn from}" "${RUN:?the folder of the run, on a disk that all ranks see}"
# Each restart of torchrun gets a store of addresses of its own: in the shared one the ranks of a restart found the address
# of the rank that died, and gloo gave up.
export TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1
LAUNCH=${LAUNCH:-torchrun --standalone --nproc-per-node gpu --max-restarts 3}

newest() { ls "$RUN/checkpoints" 2>/dev/null | grep '^step-' | sort | tail -1; }

# torchrun hands SIGTERM on to its ranks, which write a checkpoint, and dies of SIGUSR1; what bash starts in the background
# never hears of Ctrl-C. So whatever asks to stop, the ranks are sent the first.
ranks=
asked=
trap 'asked=yes; [ -z "$ranks" ] || kill -TERM "$ranks" 2>/dev/null' TERM USR1 INT

before=$(newest)
# shellcheck disable=SC2086 # LAUNCH is several words
$LAUNCH -m seamo.cli pretrain "${RECIPE:-seamo-base}" --store "$STORE" --out "$RUN" --resume "$@" &
ranks=$!
[ -z "$asked" ] || kill -TERM "$ranks"
status=0
wait "$ranks" || status=$?
while kill -0 "$ranks" 2>/dev/null; do # a signal ends `wait`, not what it waits for
  status=0
  wait "$ranks" || status=$?
done

if [ "$status" -eq 0 ] && [ -e "$RUN/checksums.json" ]; then exit 0; fi # written last
if [ "$(newest)" != "$before" ]; then exit 75; fi
echo "pretrain.sh: no checkpoint came of this attempt (status $status): not tried again" >&2
exit 1
