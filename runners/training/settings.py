"""How a network or a supernet is trained: plain values, as a recipe gives them."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainSettings:
    """How a supernet, or one network, is trained.

    Attributes:
        epochs: Passes over the training images.
        batch_size: Images in a step.
        optimizer: Name of the optimizer: ``adamw``, or ``muon`` (see ``runners.training.muon``).
        learning_rate: Peak of the learning rate.
        weight_decay: Decay of matrices and kernels; biases, norms and scales take none.
        warmup_epochs: Epochs of the linear rise to the peak; at most half of the training.
        label_smoothing: Share of a label's probability that is spread over all classes.
        gradient_clip: Largest norm of the whole gradient.
        average_decay: Decay of the moving average of the weights; 0 keeps none.
        layer_decay: Factor on the learning rate from a layer to the one before it; 1 trains all alike.
        distillation: Loss on a teacher's outputs, one of ``nas.distillation.DISTILLATIONS``.
        precision: Number format of forward and backward, ``fp32`` or ``bf16`` (autocast); ``auto`` takes
            bf16 where the processor has it and the networks run in it.
        checkpoint_s: Seconds between checkpoints within an epoch.
    """

    epochs: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    warmup_epochs: float
    label_smoothing: float
    gradient_clip: float
    average_decay: float
    optimizer: str = "adamw"
    layer_decay: float = field(default=1.0, repr=False)  # trainings without it are called as before
    distillation: str = "kl"
    precision: str = "fp32"
    checkpoint_s: float = 30.0
