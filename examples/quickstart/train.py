"""Train a small neural network on two spirals. The same as quickstart.ipynb, as a script.

lofty run train.py -- --lr 0.1 --steps 1000
"""

import argparse
import time

import numpy as np
from tensorboardX import SummaryWriter


def spirals(count, rng):
    """Points on two spirals wound around each other, and which of the two each lies on."""
    side = rng.integers(0, 2, count)
    turn = np.sqrt(rng.uniform(0.05, 1, count)) * 2.5 * np.pi
    angle = turn + np.pi * side
    points = np.stack([turn * np.cos(angle), turn * np.sin(angle)], axis=1) / 8
    return points + rng.normal(0, 0.04, points.shape), side


def forward(weights, points):
    """The hidden layer, and the chance that a point lies on the second spiral."""
    w1, b1, w2, b2 = weights
    hidden = np.tanh(points @ w1 + b1)
    return hidden, 1 / (1 + np.exp(-(hidden @ w2 + b2)))


def gradients(weights, points, side):
    """The loss, and how it changes with each weight."""
    hidden, chance = forward(weights, points)
    loss = -np.mean(np.log(np.where(side == 1, chance, 1 - chance) + 1e-9))
    error = (chance - side) / len(side)
    inner = np.outer(error, weights[2]) * (1 - hidden**2)
    return loss, (points.T @ inner, inner.sum(0), hidden.T @ error, error.sum())


def main():
    """Train, and write a curve every ten steps."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lr", type=float, default=0.05, help="learning rate")
    parser.add_argument("--steps", type=int, default=600, help="how many steps")
    options = parser.parse_args()

    rng = np.random.default_rng(7)
    points, side = spirals(600, rng)
    weights = [rng.normal(0, 2, (2, 32)), rng.normal(0, 1, 32), rng.normal(0, 0.3, 32), 0.0]
    speed = [0 * weight for weight in weights]
    writer = SummaryWriter(f"runs/lr-{options.lr:g}-{time.strftime('%H%M%S')}")
    for step in range(options.steps + 1):
        loss, slopes = gradients(weights, points, side)
        speed = [0.9 * old - options.lr * slope for old, slope in zip(speed, slopes, strict=True)]
        weights = [weight + change for weight, change in zip(weights, speed, strict=True)]
        if step % 10 == 0:
            accuracy = np.mean((forward(weights, points)[1] > 0.5) == side)
            writer.add_scalar("loss", loss, step)
            writer.add_scalar("accuracy", accuracy, step)
        if step % 200 == 0:
            print(f"step {step:4}  loss {loss:.3f}  accuracy {accuracy:.1%}")
    writer.close()


if __name__ == "__main__":
    main()
