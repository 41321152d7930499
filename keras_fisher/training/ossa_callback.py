"""Adversarial training in `model.fit`."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from keras_fisher.attacks import PGD, FixedEpsilonAttack
from keras_fisher.attacks.attack import check_fixed_epsilon
from keras_fisher.checks import check_integer, check_option, check_real, message, suggests_keywords
from keras_fisher.classifiers import Classifier
from keras_fisher.classifiers.image_check import check_bounds
from keras_fisher.fisher.solvers import Solver
from keras_fisher.training.batches import PixelRange, class_indices, with_inputs
from keras_fisher.training.best_checkpoint import BestCheckpoint
from keras_fisher.training.fisher_regularizer import FisherRegularizer
from keras_fisher.training.ossa_layer import OSSALayer
from keras_fisher.training.robust_validation import RobustValidation
from keras_fisher.training.schedules import Schedule, value_at
from keras_fisher.training.step_swap import Step, StepSwap, added_to_loss
from keras_fisher.training.training_attack import default_epsilon, training_attack
from keras_fisher.typing import Tensor


class Plan(NamedTuple):
    """What a fit will do, known before its first batch."""

    epsilon: float  # the largest
    fraction: float  # the largest
    attack: FixedEpsilonAttack  # of the validation


class OSSACallback(keras.callbacks.Callback):
    """Trains any compiled classifier on perturbed images, through `model.fit`, with no change to the model.

    In each step a part of the batch is moved along the top Fisher eigenvector of the model as it stands (see
    `kf.layers.OSSALayer`), to the side where the label becomes less likely; then the model's own training
    step runs. The attack meets the model in inference mode: without its dropout, and without augmentation by
    layers of its own, which come after it. When the fit ends the model is what it was, but for its weights;
    so it is after an interruption, at the latest when it is trained again.

    Put it before callbacks that read the logs (CSVLogger, TensorBoard, EarlyStopping, ModelCheckpoint; these
    two with monitor="val_robust_accuracy", mode="max"). An epoch adds
    `adversarial_epsilon` and `adversarial_fraction` to them; with `validation_data` also
    `val_robust_accuracy`, and the mean and median of the largest Fisher eigenvalue at the clean images,
    `val_fisher_eigenvalue_mean` and `val_fisher_eigenvalue_median`. Keras's own accuracy in training is that
    on the batches as perturbed.

    Args:
        epsilon: l2 norm of the perturbation in units of the pixels, before clipping to the bounds; or a
            schedule, a function from the epoch, counted from 0, such as `kf.callbacks.Warmup(1.5, epochs=3)`.
            None is the attack's own, or 1.5 times the range of the bounds.
        fraction: of each batch that is perturbed, in [0, 1], or a schedule. With 0 only `regularizer` acts.
        attack: None for OSSA, or `kf.attacks.FGM()`, `BIM(...)`, `PGD(...)`.
        validation_data: (images, labels), or a Dataset of batches of these, as `fit` takes them.
        solver: of OSSA, see `kf.layers.OSSALayer`.
        validation_attack: None for PGD of 20 steps within the epsilon of the last epoch; or any untargeted
            attack with an epsilon, which is then used as it is.
        regularizer: a `kf.losses.FisherRegularizer` that is added to what `model.compute_loss` returns, on
            the images as they were.
        checkpoint: a `.keras` file for the model of the best robust accuracy. Written under another name and
            renamed; the accuracy and the epoch are in the same file. Training that goes on after an epoch has
            to beat the stored one.
        from_logits: and
        bounds: as of `kf.Classifier`.
        seed: of the choice of rows and of random starts.

    Raises:
        TypeError, ValueError: a bad argument, at once; a model, validation data or a schedule that do not
            fit, when the fit begins; images outside of the bounds, after the first batch, which is
            trained on unperturbed.

    Source: Zhao et al. 2019, section 4.2 (with FGM); Madry et al. 2018 for PGD.

    Example:
        >>> import keras, keras_fisher as kf
        >>> images, labels = kf.datasets.mnist_sample()
        >>> model = kf.models.lenet5()
        >>> model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        >>> robust = kf.callbacks.OSSACallback(epsilon=1.5, validation_data=(images[:50], labels[:50]))
        >>> history = model.fit(images, labels, verbose=0, callbacks=[robust])
        >>> "val_robust_accuracy" in history.history
        True
    """

    @suggests_keywords
    def __init__(
        self,
        epsilon: Schedule | None = None,
        fraction: Schedule = 0.5,
        attack: FixedEpsilonAttack | None = None,
        validation_data: Any = None,
        *,
        solver: str | Solver = "auto",
        validation_attack: FixedEpsilonAttack | None = None,
        regularizer: FisherRegularizer | None = None,
        checkpoint: str | os.PathLike | None = None,
        from_logits: bool | str = "auto",
        bounds: tuple[float, float] | None = (0.0, 1.0),
        seed: int = 0,
    ) -> None:
        super().__init__()
        if epsilon is not None and not callable(epsilon):
            check_real("epsilon", epsilon, 0.0, 1e18, exclusive_minimum=True)
        self.epsilon = epsilon
        self.fraction = fraction if callable(fraction) else check_real("fraction", fraction, 0.0, 1.0)
        training_attack(attack, epsilon, solver)
        self.attack = attack
        self.solver = solver
        self.validation_data = validation_data
        if validation_attack is not None:
            name = type(check_fixed_epsilon(validation_attack)).__name__
            if validation_attack.targeted:
                remedy = "Robust accuracy is that against any wrong answer."
                found = f"{name}(targeted=True)"
                raise ValueError(message("validation_attack", "be untargeted", found, remedy))
        self.validation_attack = validation_attack
        if regularizer is not None and not isinstance(regularizer, FisherRegularizer):
            found = type(regularizer).__name__
            raise TypeError(message("regularizer", "be a kf.losses.FisherRegularizer or None", found))
        if regularizer is None and fraction == 0:
            raise ValueError(message("fraction", "be above 0 without a `regularizer`", fraction))
        self.regularizer = regularizer
        if checkpoint is not None and validation_data is None:
            remedy = "Without validation_data no robust accuracy is measured."
            raise ValueError(message("checkpoint", "be None without `validation_data`", checkpoint, remedy))
        self.checkpoint = None if checkpoint is None else BestCheckpoint(checkpoint)
        self.from_logits = check_option("from_logits", from_logits, ("auto", True, False))
        self.bounds = check_bounds(bounds)
        self.seed = check_integer("seed", seed, 0, 2**31 - 1)
        # Made when a fit begins, and kept for the next one of the same model.
        self._net: Any = None
        self._settings: Any = None
        self._seen: Any = None  # the validation data that the rest was made for
        self._classifier: Any = None
        self._layer: Any = None
        self._swap: Any = None
        self._validation: Any = None
        self._pixels: Any = None
        self._plan: Any = None
        self._epoch = 0
        self._is_first_epoch = True
        self._has_checked = False

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        model: Any = self.model
        epochs = range(self.params["epochs"])
        # A short fit may be over before a warm-up has begun: zeros are an answer.
        epsilons = [self._epsilon_at(epoch) for epoch in epochs] or [0.0]
        fraction = max([self._fraction_at(epoch) for epoch in epochs] or [0.0])
        self._plan = Plan(max(epsilons) or 1.0, fraction, self.validation_attack or PGD(epsilons[-1] or 1.0))
        settings = (fraction, self.attack, self.solver, self.seed, self.bounds, self.from_logits)
        settings = (*settings, self.regularizer)
        is_same = self._settings == settings and self._seen is self.validation_data
        if self._net is not model or not is_same:
            self._net, self._settings, self._seen = model, settings, self.validation_data
            self._classifier, self._layer, self._validation = None, None, None
            self._swap = StepSwap(model, self._adversarial)
        if model.built:
            self._prepare()
        self._is_first_epoch = True
        self._swap.install()

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if self._is_first_epoch and self.checkpoint is not None:
            self.checkpoint.begin(epoch)
        self._is_first_epoch = False
        self._has_checked = False
        self._epoch = epoch
        if self._layer is not None:
            self._set_layer()

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        if not self._has_checked:
            with self._restoring():
                self._pixels.check()
            self._has_checked = True

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        with self._restoring():
            if self._pixels is not None:
                self._pixels.check()
            numbers = {
                "adversarial_epsilon": self._epsilon_at(epoch),
                "adversarial_fraction": self._fraction_at(epoch),
            }
            if self._validation is not None:
                numbers |= self._validation.logs()
                # Of several workers the first one writes.
                if self.checkpoint is not None and self.model.distribute_strategy.extended.should_checkpoint:
                    name = "val_robust_accuracy"
                    self.checkpoint.offer(self.model, epoch, name, numbers[name])
            if logs is not None:
                # The callbacks that follow, and History, are given the same dictionary.
                logs.update(numbers)

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        if self._swap is not None:
            self._swap.restore()

    @contextlib.contextmanager
    def _restoring(self) -> Iterator[None]:
        """Gives the model its own step back if what is done within fails."""
        try:
            yield
        except BaseException:
            self._swap.restore()
            raise

    def _prepare(self) -> None:
        """Makes what the training step of this model needs, once for all fits of the same fraction."""
        model, plan = self._net, self._plan
        if self._classifier is None:
            self._classifier = Classifier(with_inputs(model), self.from_logits, self.bounds)
        is_ready = self._validation is not None and self._validation.attack == plan.attack
        if self.validation_data is not None and not is_ready:
            self._validation = RobustValidation(self._classifier, self.validation_data, plan.attack)
        if self._layer is None:
            with model.distribute_strategy.scope():
                self._layer = OSSALayer(
                    self._classifier,
                    plan.epsilon,
                    plan.fraction,
                    self.solver,
                    attack=self.attack,
                    seed=self.seed,
                )
            self._pixels = PixelRange(model.distribute_strategy, self.bounds, self._classifier.has_rescaling)
        if model.jit_compile and not self._layer.supports_jit:
            remedy = 'Use solver="auto", or model.compile(..., jit_compile=False).'
            raise ValueError(message("solver", "have static shapes for XLA", repr(self.solver), remedy))

    def _layer_for(self, images: Tensor) -> Any:
        """Returns the layer, made while the first step is traced for a model that its first batch builds."""
        if self._layer is None:
            with tf.init_scope():
                if not self._net.built:
                    self._net(tf.zeros([1, *images.shape[1:]]))
                self._prepare()
                self._set_layer()
        return self._layer

    def _set_layer(self) -> None:
        """Sets what this epoch has."""
        self._layer.epsilon = self._epsilon_at(self._epoch)
        self._layer.share = self._fraction_at(self._epoch) / (self._layer.fraction or 1.0)
        # A fit that goes on after some epoch knows this number: it draws what an unbroken one would have.
        if self._net.optimizer is not None:
            self._layer.step = int(self._net.optimizer.iterations.numpy())
        self._pixels.reset()

    def _adversarial(self, plain: Step) -> Step:
        """Returns the training step `plain` on perturbed images, with the regularizer in its loss."""

        def step(data: Any) -> Any:
            inputs, labels, weights = keras.utils.unpack_x_y_sample_weight(data)
            (images,) = keras.tree.flatten(inputs)
            layer = self._layer_for(images)
            images = tf.cast(images, self._classifier.image_dtype)
            self._pixels.observe(images)
            perturbed = images
            if layer.fraction > 0:
                classes = class_indices(labels, self._classifier.num_classes)
                perturbed = layer.perturb(images, classes)
            inputs = keras.tree.pack_sequence_as(inputs, [perturbed])
            with self._regularized(images):
                return plain(keras.utils.pack_x_y_sample_weight(inputs, labels, weights))

        return step

    def _regularized(self, images: Tensor) -> contextlib.AbstractContextManager[None]:
        """Adds the penalty to the model's loss, if there is one."""
        model, regularizer = self._net, self.regularizer
        if regularizer is None:
            return contextlib.nullcontext()
        step = 0 if model.optimizer is None else model.optimizer.iterations
        return added_to_loss(model, lambda: regularizer(self._classifier, images, step))

    def _epsilon_at(self, epoch: int) -> float:
        if self.epsilon is None:
            attack = training_attack(self.attack, None, self.solver)
            return default_epsilon(attack, self.bounds)
        return check_real("epsilon", value_at(self.epsilon, epoch), 0.0, 1e18)

    def _fraction_at(self, epoch: int) -> float:
        return check_real("fraction", value_at(self.fraction, epoch), 0.0, 1.0)
