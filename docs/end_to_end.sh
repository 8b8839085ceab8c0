#!/bin/sh
# From a folder of images to a bundle that reads new ones: launch, finalize, report, evaluate, predict.
#
#   docs/end_to_end.sh DATA [WORK] [STUDY] [TRIALS]
#
# DATA has NORMAL/ and PNEUMONIA/ (with or without train/ val/ test/ above). Everything is written under WORK; the
# same command again resumes where it stopped.
set -eu

data=${1:?usage: docs/end_to_end.sh DATA [WORK] [STUDY] [TRIALS]}
work=${2:-runs/end_to_end}
study=${3:-cnn}
trials=${4:-8}
mkdir -p "$work"

pneumo launch "$study" --data "$data" --home "$work/runs" --trials "$trials"
pneumo finalize "$study" --data "$data" --home "$work/runs" --out "$work/bundle" --members "${MEMBERS:-5}"
pneumo report "$study" --data "$data" --home "$work/runs" --out "$work/report" --bundle "$work/bundle"

# The bundle needs nothing but this package: from here on, only a copy of it is used.
rm -rf "$work/copy"
cp -r "$work/bundle" "$work/copy"
pneumo evaluate "$work/copy" "$data" --home "$work/runs" --json > "$work/evaluation.json"
find "$data" -type f \( -name '*.jpeg' -o -name '*.jpg' -o -name '*.png' -o -name '*.dcm' \) | sort | head -n 20 |
    tr '\n' '\0' | xargs -0 pneumo predict "$work/copy" --heatmaps "$work/heatmaps"
echo "Bundle: $work/bundle (MODEL_CARD.md, report.html); figures: $work/evaluation.json; heatmaps: $work/heatmaps"
