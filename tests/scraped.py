"""What `/metrics` says, read by the parser of Prometheus' own Python client."""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet

import urllib3
from attrs import frozen
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families


@frozen
class Scraped:
    """One scrape: its families by name."""

    families: Mapping[str, Metric]

    @classmethod
    def read(cls, text: str) -> "Scraped":
        parsed = list(text_string_to_metric_families(text))
        families = {family.name: family for family in parsed}
        assert len(families) == len(parsed)
        return cls(families)

    @property
    def names(self) -> AbstractSet[str]:
        """The names that a query can use: of families, and of what histograms consist of."""
        samples = {sample.name for family in self.families.values() for sample in family.samples}
        # The parser takes `_total` off a counter's name.
        counters = {f"{name}_total" for name, family in self.families.items() if family.type == "counter"}
        return samples | counters

    def value(self, name: str, **labels: str) -> float:
        """The sum of all samples that have these labels, among others; 0 if there is none."""
        return sum(
            sample.value
            for family in self.families.values()
            for sample in family.samples
            if sample.name == name and sample.labels.items() >= labels.items()
        )

    def values_of(self, label: str) -> AbstractSet[str]:
        """All that a label says, anywhere."""
        samples = (sample for family in self.families.values() for sample in family.samples)
        return {sample.labels[label] for sample in samples if label in sample.labels}


def scrape(origin: str) -> Scraped:
    """Ask over a connection of its own, so that any worker may answer."""
    answer = urllib3.request("GET", f"{origin}/metrics", retries=False, timeout=20, headers={"Connection": "close"})
    assert (answer.status, answer.headers["Content-Type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
    return Scraped.read(answer.data.decode())
