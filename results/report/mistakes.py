"""What the chosen file gets wrong: accuracy of each class, confusions, the worst pictures."""

from __future__ import annotations

from results.numbers import percent
from results.records import Mistakes
from results.report.markup import Html, Piece, absent, join, paragraph, table, tag
from results.report.sources import Sources
from results.statistics import share_interval

_LARGEST_MATRIX = 30  # classes; more of them are told by their pairs
_PAIRS = 10


def mistakes(run: Sources) -> Html:
    """The mistakes of the chosen file on the test images."""
    found = run.mistakes.get(run.cards[0].name) if run.cards else None
    if found is None:
        return absent("What the chosen file gets wrong, class by class, was not written down in this run.")
    parts = [tag("h3", "Accuracy of each class"), _classes(found)]
    if found.confused:
        parts += [tag("h3", "What is taken for what"), _confusions(found)]
    if found.wrong:
        parts += [tag("h3", "Wrong with the most confidence"), _pictures(found)]
    note = "Test images, in the file that was chosen. An interval of 95 % goes with each accuracy."
    return join([*parts, paragraph(note, kind="note")])


def _classes(found: Mistakes) -> Html:
    rows: list[list[Piece]] = []
    order = sorted(range(len(found.classes)), key=lambda i: found.right[i] / max(1, found.images[i]))
    for place in order:
        images, right = found.images[place], found.right[place]
        known = share_interval(right, images) if images else None
        mostly = next((one for one in found.confused if one.label == place), None)
        rows.append(
            [
                found.classes[place],
                str(images),
                percent(right / images) if images else "",
                f"{percent(known.low)} to {percent(known.high)}" if known else "",
                f"{found.classes[mostly.predicted]} ({mostly.images})" if mostly else "",
            ]
        )
    return table(["class", "images", "accuracy", "interval", "mostly taken for"], rows)


def _confusions(found: Mistakes) -> Html:
    if len(found.classes) > _LARGEST_MATRIX:
        rows: list[list[Piece]] = [
            [found.classes[one.label], found.classes[one.predicted], str(one.images)]
            for one in found.confused[:_PAIRS]
        ]
        return table(["class", "taken for", "images"], rows, words=2)
    counts = {(one.label, one.predicted): one.images for one in found.confused}
    most = max(counts.values())
    rows = []
    for label, name in enumerate(found.classes):
        cells: list[Piece] = [tag("strong", name)]
        for predicted in range(len(found.classes)):
            if label == predicted:
                cells.append(tag("em", found.right[label]))
                continue
            images = counts.get((label, predicted), 0)
            share = round(100 * images / most)
            cells.append(tag("span", images, class_="cell", style=f"--share:{share}%") if images else "")
        rows.append(cells)
    return table(["class \\ said", *found.classes], rows)


def _pictures(found: Mistakes) -> Html:
    figures = []
    for one in found.wrong:
        words = f"{found.classes[one.label]}, taken for {found.classes[one.predicted]}"
        picture = Html(
            str(tag("img", src=f"data:image/png;base64,{one.png}", alt=words)).replace("</img>", "")
        )
        caption = tag("figcaption", words, tag("small", f"confidence {percent(one.confidence)}"))
        figures.append(tag("figure", picture, caption))
    return tag("div", *figures, class_="pictures")
