"""Which strategy suits a deployment: the guide's decision tree, as data. Pure.

    Are two versions to be compared?           yes -> A/B testing
    Is it for production?                      no  -> all at once
    Must it be out at once?                    yes -> all at once; critical -> blue-green
    Is the function critical?                  yes -> blue-green
    Are there many nodes?                      yes -> rolling, no -> canary

The guide asks for production and critical first, then for comparing and for many nodes as questions of their own. Here
they have one order, since more than one may be answered with yes: to compare is a purpose and comes first; being
critical counts for more than the number of nodes. Urgency is not in its tree, but in what it says of each strategy.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum


class Question(StrEnum):
    COMPARE = "compare"
    PRODUCTION = "production"
    URGENT = "urgent"
    CRITICAL = "critical"
    MANY_NODES = "manyNodes"


Answers = Mapping[Question, bool]


@dataclass(frozen=True, slots=True)
class Advice:
    strategy: str
    """As in the guide's JSON."""
    why: str
    risk: str
    way_back: str
    """How one gets back, and how fast."""


@dataclass(frozen=True, slots=True)
class Branch:
    question: Question
    yes: "Branch | Advice"
    no: "Branch | Advice"


AB_TESTING = Advice(
    "ABTesting",
    "both versions serve side by side, each user staying with one, and their figures are compared; you name the winner",
    "low: nobody is moved before the test is over, and a challenger that breaks a limit is taken back",
    "one change of weights; by itself while the test runs, else when you say so",
)
ALL_AT_ONCE = Advice(
    "AllAtOnce",
    "nothing is to be watched for long: the new version takes everything as soon as it is ready",
    "high: every user has the new version at once, and nothing judges it",
    "one change of weights, but only when you ask for it; the old version is started again first",
)
HOTFIX = Advice(
    "AllAtOnce",
    "a fix that is waited for does not want phases: it takes everything as soon as it is ready",
    ALL_AT_ONCE.risk,
    ALL_AT_ONCE.way_back,
)
BLUE_GREEN = Advice(
    "BlueGreen",
    "the new version is tested before any user meets it, and the old one stays warm beside it",
    "medium: what the tests do not find meets every user at once; both versions take up room meanwhile",
    "one change of weights to a version that still runs; by itself when a limit is broken, for as long as blue is kept",
)
CRITICAL_HOTFIX = Advice(
    "BlueGreen",
    "even what is urgent is tested first where it is critical; with a short testDuration that costs a minute",
    BLUE_GREEN.risk,
    BLUE_GREEN.way_back,
)
ROLLING = Advice(
    "Rolling",
    "the nodes change batch by batch, each batch is judged, and no capacity is taken away meanwhile",
    "medium: a failure reaches the share of users whose nodes have changed",
    "batch by batch, the last one first; by itself when a batch is found bad",
)
CANARY = Advice(
    "Canary",
    "a small share of the users meets the new version first, and more only after each phase was judged",
    "low: a failure reaches the canary's share, and is taken back within seconds",
    "one change of weights to a version that still runs; by itself when a limit is broken",
)

TREE = Branch(
    Question.COMPARE,
    yes=AB_TESTING,
    no=Branch(
        Question.PRODUCTION,
        yes=Branch(
            Question.URGENT,
            yes=Branch(Question.CRITICAL, yes=CRITICAL_HOTFIX, no=HOTFIX),
            no=Branch(
                Question.CRITICAL,
                yes=BLUE_GREEN,
                no=Branch(Question.MANY_NODES, yes=ROLLING, no=CANARY),
            ),
        ),
        no=ALL_AT_ONCE,
    ),
)


def recommend(answer: Callable[[Question], bool], tree: Branch | Advice = TREE) -> Advice:
    """Asks what it needs to know, one question after another, and nothing else."""
    while isinstance(tree, Branch):
        tree = tree.yes if answer(tree.question) else tree.no
    return tree


def unanswered(given: Answers, tree: Branch | Advice = TREE) -> list[Question]:
    """The questions that may still have to be answered, in the order in which they are asked, each once."""
    if isinstance(tree, Advice):
        return []
    if tree.question in given:
        return unanswered(given, tree.yes if given[tree.question] else tree.no)
    both = [*unanswered(given, tree.yes), *unanswered(given, tree.no)]
    return list(dict.fromkeys([tree.question, *both]))
