"""The page's example runs as it stands."""

import re
from pathlib import Path

import numpy as np

PAGE = Path(__file__).parents[3] / "docs" / "latency.md"


def test_the_example_of_the_page_runs() -> None:
    (snippet,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)
    names: dict[str, object] = {}
    exec(compile(snippet, str(PAGE), "exec"), names)
    latency_ms, upper_ms = names["latency_ms"], names["upper_ms"]
    assert isinstance(latency_ms, np.ndarray)
    assert isinstance(upper_ms, np.ndarray)
    assert (upper_ms > latency_ms).all()
