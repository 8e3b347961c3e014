"""Classifiers that bring their worker into trouble."""

from __future__ import annotations

import os
import signal
import time

from sklearn.dummy import DummyClassifier


class Deadly(DummyClassifier):
    """Takes its process with it, as one does that the kernel kills for its memory."""

    def fit(self, X, y, sample_weight=None):  # noqa: N803
        os.kill(os.getpid(), signal.SIGKILL)


class Slow(DummyClassifier):
    """Takes longer than the cluster lasts."""

    def fit(self, X, y, sample_weight=None):  # noqa: N803
        time.sleep(60)
        return super().fit(X, y)
