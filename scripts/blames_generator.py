"""Exit 0 when a verdict.json is INCONCLUSIVE and every reason it gives is the load generator's. For
.ci/run.
"""

import json
import sys
from pathlib import Path

verdict = json.loads(Path(sys.argv[1]).read_text())
undecided = [
    f
    for f in verdict["objectives"] + verdict["validity"]
    if f["verdict"] not in {"PASS", "INCONCLUSIVE"}
]
reasons = [
    f["why"] for f in verdict["objectives"] + verdict["validity"] if f["verdict"] == "INCONCLUSIVE"
]
blamed = not undecided and reasons and all(reason.startswith("generator") for reason in reasons)
sys.exit(0 if verdict["verdict"] == "INCONCLUSIVE" and blamed else 1)
