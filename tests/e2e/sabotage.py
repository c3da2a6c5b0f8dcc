#!/usr/bin/python3
"""Three planted bugs (core/base/sabotage.h), each in a daemon built to honour them. The kill harness must report the right class
for each; with none of them on, the same short run must be clean, or the catch would prove nothing."""
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from kill import Run  # noqa: E402
from tap import check, equal, main, note, test  # noqa: E402

KILLS = int(os.environ.get("MINTD_SABOTAGE_KILLS", "25"))


def classes(folder, profile, bug, seeds=3, points=False):
    """Problem classes of up to `seeds` runs, ending with the first that has any."""
    for seed in range(1, seeds + 1):
        home = os.path.join(folder, f"{bug}-{seed}")
        run = Run(profile, seed, home, KILLS, points=points, settle=20, env={"MINTD_SABOTAGE": bug})
        found = {kind for kind, message in run.whole()}
        note(bug or "no bug", profile, "seed", seed, sorted(found))
        if found:
            return found
    return set()


@test
def without_a_planted_bug_the_run_is_clean(folder):
    equal(classes(folder, "hedera-like", "", seeds=1), set())


@test
def sending_before_the_commit_is_caught(folder):
    found = classes(folder, "hedera-like", "send_before_commit", seeds=5, points=["book.commit.before"])
    check(found & {"uncommitted", "double"}, found)


@test
def taking_null_as_absent_is_caught(folder):
    found = classes(folder, "hedera-like", "null_is_absent")
    check(found & {"double", "false-proof"}, found)


@test
def forgetting_what_was_open_is_caught(folder):
    found = classes(folder, "solana-like", "forget_what_was_open")
    check(found & {"stuck"}, found)


if __name__ == "__main__":
    sys.exit(main())
