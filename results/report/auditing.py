"""The audit of the supernet, where there is one: how far its ranking can be trusted."""

from __future__ import annotations

from results.numbers import count, percent
from results.records import AuditSummary
from results.report.chart import PERCENT, Chart, axis
from results.report.markup import Html, absent, join, paragraph, table, tag
from results.report.series import of_size
from results.report.sources import Sources


def auditing(run: Sources) -> Html:
    """Networks trained alone beside their inherited accuracy, and what follows."""
    audit = run.audit
    if audit is None:
        return absent(
            "This supernet was not audited: nobody has trained some of its networks alone to see whether it "
            "ranks them rightly. quarry audit does."
        )
    said = [paragraph(sentence) for sentence in audit.sentences()]
    if audit.failed:
        said.append(paragraph(f"Not judged: {'; '.join(audit.failed)}.", kind="alarm"))
    return join([tag("div", _scatter(audit).draw(), tag("div", *said), class_="pair"), _table(audit)])


def _scatter(audit: AuditSummary) -> Chart:
    inherited = [network.inherited_val for network in audit.networks]
    alone = [network.alone_test for network in audit.networks]
    chart = Chart(
        "Accuracy alone against inherited accuracy",
        axis("inherited, validation data", inherited, PERCENT, most=1.0),
        axis("alone, test data", alone, PERCENT, most=1.0),
    )
    for network in audit.networks:
        tip = (
            f"{network.name}: inherited {percent(network.inherited_val)}, alone {percent(network.alone_test)}"
        )
        chart.point(network.inherited_val, network.alone_test, of_size(network.name), tip=tip)
    return chart


def _table(audit: AuditSummary) -> Html:
    rows = [
        [
            network.name,
            count(network.macs),
            percent(network.inherited_test),
            percent(network.finetuned_test) if audit.finetune_epochs else "",
            percent(network.alone_test),
        ]
        for network in audit.networks
    ]
    return table(["network", "MACs", "inherited", "fine-tuned", "alone"], rows)
