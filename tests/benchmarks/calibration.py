"""Which calibration the images held out speak for: ten-fold cross-validation, without the test set.

    python -m tests.benchmarks.calibration [--repeats N]

For the shipped `cifar10-pair`: every method is fitted on six views of nine tenths of the images that neither of its
nets was trained on, and its loss is that of the tenth, as they are.
"""

import numpy as np
from numpy.typing import NDArray

from service.manifest import Manifest, tower_keras
from tests.benchmarks.arguments import parser_of, whole
from tests.benchmarks.data import loaded
from tests.benchmarks.needed import needed
from tests.service.shipped import latest, manifest
from training.datasets import DATASETS, Images, Labels, training_split
from training.experiments import EXPERIMENTS
from training.quiet import quiet
from training.views import six_views

with needed(), quiet():
    import keras

    from training import calibration
    from training.predict import predict

PAIR = "cifar10-pair"
FOLDS = 10
Floats = NDArray[np.float32]


def main() -> None:
    """Print the loss of each method, and how far the second is below the first."""
    parser = parser_of(__doc__)
    parser.add_argument(
        "--repeats", type=whole(1), default=5, help="divisions into folds (default %(default)s)"
    )
    repeats = parser.parse_args().repeats
    experiment = EXPERIMENTS[PAIR]
    _, _, images, labels = training_split(loaded(DATASETS[experiment.dataset]), experiment.held_out)
    views = logits_of_views(images)
    losses = {method: cross_validated(method, views, labels, repeats) for method in calibration.METHODS}
    for method, each in losses.items():
        print(f"{method:12s} loss {each.mean():.4f}")
    difference = losses[calibration.TEMPERATURE] - losses[calibration.ENTROPY]
    error = difference.std() / np.sqrt(len(difference))
    print(f"entropy is below temperature by {difference.mean():.4f} ± {error:.4f} (standard error)")


def logits_of_views(images: Images) -> Floats:
    """The mean of the towers' calibrated logits, [views,N,classes]; the first view is the images as they are."""
    count = len(Manifest.model_validate(manifest(PAIR)).members)
    files = [latest(PAIR) / tower_keras(number) for number in range(1, count + 1)]
    members = [keras.saving.load_model(file, compile=False) for file in files]
    nets = [keras.Model(member.input, member.layers[-1].input) for member in members]
    views = [view for _, view in six_views(images)]
    answers = [[predict(net, view) for view in views] for net in nets]
    return np.asarray(np.mean(answers, axis=0), np.float32)


def cross_validated(method: str, views: Floats, labels: Labels, repeats: int) -> NDArray[np.float64]:
    """−log p(true label) of every image, nats, by calibrations that were fitted without it: their mean, [N]."""
    rng = np.random.default_rng(1)
    total = np.zeros(len(labels))
    for _ in range(repeats):
        fold = rng.permutation(len(labels)) % FOLDS
        for k in range(FOLDS):
            held, rest = fold == k, fold != k
            fitted = calibration.fit(
                method, np.concatenate(views[:, rest]), np.tile(labels[rest], len(views))
            )
            answers = fitted.probabilities(views[0, held])
            total[held] -= np.log(answers[np.arange(held.sum()), labels[held]])
    return total / repeats


if __name__ == "__main__":
    main()
