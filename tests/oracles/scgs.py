"""SCGS (Li et al.), section II.C, restated: equation 3 as printed, and drawing without replacement one by one."""

from __future__ import annotations

from itertools import permutations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def mean_and_covariance(cluster: Floats) -> tuple[Floats, Floats]:
    """mu_k and Sigma_k = sum of (s_i - mu)(s_i - mu)^T over |S_k| - 1, image by image."""
    count, dimensions = cluster.shape
    mean = np.zeros(dimensions)
    for s in cluster:
        mean = mean + s / count
    covariance = np.zeros((dimensions, dimensions))
    for s in cluster:
        for i in range(dimensions):
            for j in range(dimensions):
                covariance[i, j] += (s[i] - mean[i]) * (s[j] - mean[j]) / (count - 1)
    return mean, covariance


def density(s: Floats, mean: Floats, covariance: Floats) -> float:
    """Equation 3: exp(-1/2 (s - mu)^T Sigma^-1 (s - mu)) / sqrt((2 pi)^D |Sigma|)."""
    away = s - mean
    exponent = -0.5 * away @ np.linalg.inv(covariance) @ away
    return float(np.exp(exponent) / np.sqrt((2 * np.pi) ** len(s) * np.linalg.det(covariance)))


def probabilities(cluster: Floats) -> Floats:
    """Each image's density over the sum of all: "the probability of each image being extracted"."""
    mean, covariance = mean_and_covariance(cluster)
    values = np.array([density(s, mean, covariance) for s in cluster])
    return values / values.sum()


def principal_coordinates(cluster: Floats, dimensions: int) -> Floats:
    """The cluster on the eigenvectors of its covariance that have the largest eigenvalues."""
    mean, covariance = mean_and_covariance(cluster)
    values, vectors = np.linalg.eigh(covariance)
    largest = np.argsort(-values)[:dimensions]
    return np.array([[vectors[:, axis] @ (s - mean) for axis in largest] for s in cluster])


def pseudo_distances(cluster: Floats) -> Floats:
    """Squared Mahalanobis distances with the pseudo-inverse of a singular covariance."""
    mean, covariance = mean_and_covariance(cluster)
    inverse = np.linalg.pinv(covariance, rcond=1e-10, hermitian=True)
    return np.array([(s - mean) @ inverse @ (s - mean) for s in cluster])


def inclusion(weights: Floats, drawn: int) -> Floats:
    """Chance of each item to be among `drawn`, taken one by one in proportion to the weights that are left."""
    chances = np.zeros(len(weights))
    for order in permutations(range(len(weights)), drawn):
        chance, left = 1.0, weights.sum()
        for item in order:
            chance *= weights[item] / left
            left -= weights[item]
        for item in order:
            chances[item] += chance
    return chances
