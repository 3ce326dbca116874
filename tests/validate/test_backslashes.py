"""A new line that was typed as two characters is told."""

from __future__ import annotations

from rlvr.validate import validate
from tests.helpers.validating import config


def test_a_typed_backslash_and_n_is_told(caplog):
    cfg = config(data__template=r"chat:Solve: {question}\nAnswer:", rollout__stop=["\\n", "\n"])
    cfg.data.eval[0].system = r"$a \neq b$ and \nabla"
    validate(cfg)
    told = [record.getMessage() for record in caplog.records]
    assert [line.partition(" holds a backslash and an n, not a new line")[0] for line in told] == [
        "data.template",
        "rollout.stop",
    ]
    assert r"""write $'data.template="...\n..."' in bash""" in told[0]
