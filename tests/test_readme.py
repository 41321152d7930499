"""The examples of the README run as they stand there."""

from __future__ import annotations

import doctest
import pathlib

README = pathlib.Path(__file__).parent.parent / "README.md"


def test_the_examples_of_the_readme_run():
    text = README.read_text(encoding="utf-8")
    blocks = [block.split("```")[0] for block in text.split("```python\n")[1:]]
    examples = "\n".join(block for block in blocks if ">>>" in block)
    test = doctest.DocTestParser().get_doctest(examples, {}, "README.md", str(README), 0)
    assert len(test.examples) >= 10
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    complaints: list[str] = []
    runner.run(test, out=complaints.append)
    assert runner.failures == 0, "".join(complaints)
