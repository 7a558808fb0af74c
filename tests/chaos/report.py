"""What the blows have cost: a table in Markdown, and a picture of the same."""

from collections.abc import Sequence
from statistics import median

from matplotlib.figure import Figure

from tests.chaos.run import Attempt
from tests.chaos.verdict import Cost, costs

Runs = Sequence[Sequence[Attempt]]
"""The attempts of each run."""


def table(runs: Runs) -> str:
    """Events of all runs by kind, what they ended with and what they cost, in Markdown."""
    lines = [
        "| event | times | exit codes | steps lost, median | most | seconds to resume, median | most |",
        "|---|--:|---|--:|--:|--:|--:|",
    ]
    ends, by_kind = _ends(runs), _costs(runs)
    everything = [code for codes in ends.values() for code in codes], [cost for of in by_kind.values() for cost in of]
    for kind, codes, found in [*((kind, ends[kind], by_kind[kind]) for kind in ends), ("all", *everything)]:
        cells = [kind, str(len(codes)), ", ".join(map(str, sorted(set(codes)))), *_figures(found)]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _figures(found: Sequence[Cost]) -> list[str]:
    """Of the last columns; nothing where no step was made before the event or none after it."""
    if not found:
        return 4 * [""]
    lost, seconds = [cost.steps_lost for cost in found], [cost.seconds_to_resume for cost in found]
    return [f"{median(lost):.0f}", f"{max(lost)}", f"{median(seconds):.1f}", f"{max(seconds):.1f}"]


def picture(runs: Runs) -> Figure:
    """A dot for each event that was followed by a step, and a line at the median of its kind."""
    by_kind = _costs(runs)
    figure = Figure((9.0, 0.45 * len(by_kind) + 1.2), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    for axes, what in zip(panels, ("steps_lost", "seconds_to_resume"), strict=True):
        for place, found in enumerate(by_kind.values()):
            if not found:
                continue
            values = [getattr(cost, what) for cost in found]
            # Dots of equal values stand one above the other.
            heights = [place + 0.6 * ((number + 0.5) / len(values) - 0.5) for number in range(len(values))]
            axes.plot(values, heights, "o", color="#0072B2", alpha=0.5, markersize=4, clip_on=False)
            axes.plot(2 * [median(values)], [place - 0.4, place + 0.4], color="#D55E00", clip_on=False)
        axes.set(xlabel=what.replace("_", " "), xlim=(0.0, None))
        axes.grid(axis="x", alpha=0.3)
    panels[0].set_yticks(range(len(by_kind)), list(by_kind))
    panels[0].invert_yaxis()
    return figure


def _ends(runs: Runs) -> dict[str, list[int]]:
    """Exit codes of the attempts that were struck, by kind of event."""
    events = [(attempt.event.kind, attempt.code) for run in runs for attempt in run if attempt.event is not None]
    return {kind: [code for of, code in events if of == kind] for kind in sorted({kind for kind, _ in events})}


def _costs(runs: Runs) -> dict[str, list[Cost]]:
    """Costs by kind of event, in the same order."""
    found = [cost for run in runs for cost in costs(run)]
    return {kind: [cost for cost in found if cost.kind == kind] for kind in _ends(runs)}
