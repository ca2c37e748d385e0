"""Linear discriminant analysis of hidden states by scikit-learn: two classes of tokens in, a direction out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy
import torch
from sklearn.covariance import empirical_covariance
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from threadpoolctl import threadpool_limits
from torch import Tensor


def discriminant(states: Tensor, labels: Tensor, ridge: float) -> tuple[Tensor, float]:
    """Weight [hidden] and bias of the linear discriminant of states [token, hidden], positive where `labels` are true.

    states   float64.
    labels   bool [token].
    ridge    Share (0-1) of the identity in the covariance.

    Each channel is divided by its standard deviation within the classes; the boundary passes through the middle of
    the two means, whatever the classes' shares. Sums are in one order, whatever the number of threads.
    Returns not-a-numbers where one class has no token.
    Source: Ledoit & Wolf 2004 (shrinkage); scikit-learn's `LinearDiscriminantAnalysis`.

    >>> states = torch.tensor([[0.0, 1.0], [0.0, 3.0], [4.0, 1.0], [4.0, 3.0]], dtype=torch.float64)
    >>> weight, bias = discriminant(states, torch.tensor([False, False, True, True]), ridge=0.1)
    >>> (states @ weight + bias).sign().tolist()
    [-1.0, -1.0, 1.0, 1.0]

    *Shown in:* 02_probe_reasoning_direction.
    """
    x, y = states.numpy(), labels.numpy()
    if y.all() or not y.any():
        return torch.full_like(states[0] if len(x) else states.sum(0), torch.nan), float("nan")
    means, free = numpy.stack([x[~y].mean(0), x[y].mean(0)]), max(1, len(x) - 2)
    middle, spread = means.mean(0), _spread(x, x - means[y.astype(int)], free)
    with threadpool_limits(1, "blas"):
        basis, scaled = _row_space((x - middle) / spread)
        weight = basis @ _fit(scaled, y, ridge, len(x) / free) / spread
    return torch.from_numpy(weight), -float(weight @ middle)


def _spread(x: numpy.ndarray, within: numpy.ndarray, free: int) -> numpy.ndarray:
    """Standard deviation of every channel within the classes: [hidden]."""
    rounding = 1e-12 * (x ** 2).mean(1).sum() / free  # what rounding does is no variance
    return numpy.sqrt(numpy.maximum((within ** 2).sum(0) / free, max(rounding, numpy.finfo(float).tiny)))


def _row_space(x: numpy.ndarray) -> tuple[numpy.ndarray, numpy.ndarray]:
    """Orthonormal directions [hidden, direction] in which all states lie, and the states there: fewer, if rows are.

    Nothing is lost: shrinkage towards the identity is the same along any of them, and the classes differ in no other.
    """
    basis = numpy.linalg.qr(x.T)[0] if len(x) < x.shape[1] else numpy.eye(x.shape[1])
    return basis, x @ basis


def _fit(x: numpy.ndarray, y: numpy.ndarray, ridge: float, unbiased: float) -> numpy.ndarray:
    """Weight of scikit-learn's discriminant of standardised states."""
    if len(x) == 2:  # scikit-learn asks for more tokens than classes; each twice has the same moments
        x, y = x.repeat(2, 0), y.repeat(2)
    shrunk = _Shrunk(ridge, unbiased)
    return LinearDiscriminantAnalysis(solver="lsqr", covariance_estimator=shrunk).fit(x, y).coef_[0]


@dataclass
class _Shrunk:
    """A class's covariance, shrunk towards the identity; the discriminant takes the mean over classes by their shares.

    scikit-learn's own `shrinkage` goes towards the mean variance instead. That is the identity too, but for channels
    that are constant in each class, which the first tokens of a response are in the embeddings.
    """

    ridge: float
    unbiased: float
    """Factor that makes the pooled covariance that of as many degrees of freedom as there are, n - 2 of n."""

    def fit(self, x: numpy.ndarray) -> _Shrunk:
        covariance = self.unbiased * empirical_covariance(x)
        self.covariance_ = (1 - self.ridge) * covariance + self.ridge * numpy.eye(x.shape[1])
        return self
