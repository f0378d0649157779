"""The `method` section of a recipe: what pulls pairs together, and what keeps all else apart."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias, get_args

from pydantic import Discriminator, Field, Tag

from textcl.recipe.strict import StrictModel


class ScheduledRecipe(StrictModel):
    """A temperature that moves in a straight line over the run."""

    start: float = Field(description="at the first step")
    end: float = Field(description="at the last step")


class LearnedRecipe(StrictModel):
    """A temperature that is trained with the rest."""

    learned: float = Field(description="where it starts")
    least: float = Field(0.01, description="it never falls below")
    most: float = Field(1.0, description="it never rises above")


def _shape_of(value: Any) -> str:  # noqa: ANN401 (whatever the recipe has there)
    if isinstance(value, LearnedRecipe) or (isinstance(value, dict) and "learned" in value):
        return "learned"
    return "scheduled" if isinstance(value, dict | ScheduledRecipe) else "number"


TemperatureRecipe: TypeAlias = Annotated[
    Annotated[float, Tag("number")]
    | Annotated[ScheduledRecipe, Tag("scheduled")]
    | Annotated[LearnedRecipe, Tag("learned")],
    Discriminator(_shape_of),
]
PositivesRecipe: TypeAlias = Literal["own", "group"]
NormRecipe: TypeAlias = Literal["layer", "batch", "none"]


class ProjectorRecipe(StrictModel):
    """A head between embedding and loss, dropped after training."""

    hidden: int = Field(description="width of its hidden layers")
    out: int = Field(description="width that the loss sees")
    layers: int = Field(2, description="linear layers")
    norm: NormRecipe = Field("layer", description="before each ReLU; batch sees the batch of all processes")
    norm_out: bool = Field(False, description="the norm behind the last layer too")


class PredictorRecipe(StrictModel):
    """A head behind the projector, on one side alone."""

    hidden: int = Field(description="width of its hidden layer")
    layers: int = Field(2, description="linear layers")
    norm: NormRecipe = Field("batch", description="before each ReLU")


class UniformityRecipe(StrictModel):
    """A term that spreads the embeddings over the sphere."""

    weight: float = Field(description="factor of the term")
    t: float = Field(2.0, description="sharpness of its kernel")


class DistillationRecipe(StrictModel):
    """A term that keeps the similarities in a batch near those of the encoder as it came."""

    weight: float = Field(description="factor of the term")
    temperature: float = Field(0.05, description="divisor of the similarities that are compared")


class MatryoshkaRecipe(StrictModel):
    """The loss on the first dimensions too, so that embeddings can be cut."""

    dimensions: tuple[int, ...] = Field(description="how many of the first dimensions, one number a term")
    weights: tuple[float, ...] | None = Field(None, description="factors of the terms; null: 1 each")


class FalseNegativesRecipe(StrictModel):
    """When a candidate is too similar to be a negative."""

    above: float | None = Field(None, description="cosine above which two rows are taken for the same")
    margin: float | None = Field(None, description="none is a negative that is nearer than the positive's minus this")
    guide: str | None = Field(
        None, description="frozen encoder that judges, by folder or name; null: the one in training"
    )


class _Method(StrictModel):
    """What every method takes."""

    name: str
    uniformity: UniformityRecipe | None = None
    distillation: DistillationRecipe | None = None


class _Contrastive(_Method):
    """What every method with negatives takes."""

    false_negatives: FalseNegativesRecipe | None = Field(None, description="masks by similarity, beside equal labels")


class _InfoNCE(_Contrastive):
    """What every method with InfoNCE takes."""

    temperature: TemperatureRecipe = Field(0.05, description="divisor of similarities")
    decoupled: bool = Field(False, description="leave the positive out of the denominator (DCL)")
    label_smoothing: float = Field(0.0, description="share of the target spread over all candidates")
    hardness: float = Field(0.0, description="how much more near negatives weigh than far ones")
    matryoshka: MatryoshkaRecipe | None = Field(None, description="where no head stands before the loss")


class SimCLRRecipe(_InfoNCE):
    """The `method` section of a recipe whose name is simclr."""

    name: Literal["simclr"]
    positives: PositivesRecipe = Field("own", description="group: rows of one data.group are positives of each other")
    symmetric: bool = Field(True, description="positives look for their anchors too")
    same_side: bool = Field(True, description="rows of the same side are negatives too (NT-Xent)")
    projector: ProjectorRecipe | None = None


class SimCSERecipe(_InfoNCE):
    """The `method` section of a recipe whose name is simcse."""

    name: Literal["simcse"]
    positives: PositivesRecipe = Field("own", description="group: rows of one data.group are positives of each other")
    head: bool = Field(True, description="a linear layer with tanh before the loss, in training only")


class PairsRecipe(_InfoNCE):
    """The `method` section of a recipe whose name is pairs."""

    name: Literal["pairs"] = "pairs"
    positives: PositivesRecipe = Field("own", description="group: rows of one data.group are positives of each other")
    symmetric: bool = Field(True, description="positives look for their anchors too")
    same_side: bool = Field(False, description="rows of the same side are negatives too")


class SigLIPRecipe(_Contrastive):
    """The `method` section of a recipe whose name is siglip."""

    name: Literal["siglip"]
    positives: PositivesRecipe = Field("own", description="group: rows of one data.group are positives of each other")
    temperature: TemperatureRecipe = Field(
        LearnedRecipe(learned=0.1), description="divisor of similarities", validate_default=True
    )
    bias: float = Field(-10.0, description="added to all scaled similarities; learned from here on")
    matryoshka: MatryoshkaRecipe | None = None


class MoCoRecipe(_InfoNCE):
    """The `method` section of a recipe whose name is moco."""

    name: Literal["moco"]
    queue_size: int = Field(4096, description="past keys kept as negatives; 0 keeps none")
    momentum: float = Field(0.999, description="share of the momentum encoder kept at each update")
    symmetric: bool = Field(False, description="positives look for the keys of their anchors too")
    projector: ProjectorRecipe | None = None


class BYOLRecipe(_Method):
    """The `method` section of a recipe whose name is byol."""

    name: Literal["byol"]
    momentum: float = Field(0.99, description="share of the target kept at each update, at the begin")
    rise: bool = Field(True, description="let the momentum rise to 1 over the run")
    projector: ProjectorRecipe = ProjectorRecipe(hidden=1024, out=256, norm="batch")
    predictor: PredictorRecipe | None = Field(
        PredictorRecipe(hidden=1024), description="null leaves it out, and the embeddings collapse"
    )


class SimSiamRecipe(_Method):
    """The `method` section of a recipe whose name is simsiam."""

    name: Literal["simsiam"]
    projector: ProjectorRecipe = ProjectorRecipe(hidden=1024, out=1024, layers=3, norm="batch", norm_out=True)
    predictor: PredictorRecipe = PredictorRecipe(hidden=256)
    stop_gradient: bool = Field(True, description="false lets the embeddings collapse")


class BarlowTwinsRecipe(_Method):
    """The `method` section of a recipe whose name is barlow_twins."""

    name: Literal["barlow_twins"]
    off_diagonal_weight: float = Field(0.005, description="weight of what is redundant")
    scale: float = Field(1.0, description="factor of the loss, a sum over all pairs of dimensions: large beside others")
    projector: ProjectorRecipe | None = ProjectorRecipe(hidden=2048, out=2048, layers=3, norm="batch")


class VICRegRecipe(_Method):
    """The `method` section of a recipe whose name is vicreg."""

    name: Literal["vicreg"]
    invariance: float = Field(25.0, description="weight of the distance of pairs")
    variance: float = Field(25.0, description="weight of the missing spread of dimensions")
    covariance: float = Field(1.0, description="weight of what is redundant")
    projector: ProjectorRecipe | None = ProjectorRecipe(hidden=2048, out=2048, layers=3, norm="batch")


def _name_of(value: Any) -> Any:  # noqa: ANN401 (whatever the recipe has there)
    """Return the name of a method; a section without one is of the default method."""
    return value.get("name", "pairs") if isinstance(value, dict) else getattr(value, "name", "pairs")


MethodRecipe: TypeAlias = Annotated[
    Annotated[SimCLRRecipe, Tag("simclr")]
    | Annotated[SimCSERecipe, Tag("simcse")]
    | Annotated[PairsRecipe, Tag("pairs")]
    | Annotated[SigLIPRecipe, Tag("siglip")]
    | Annotated[MoCoRecipe, Tag("moco")]
    | Annotated[BYOLRecipe, Tag("byol")]
    | Annotated[SimSiamRecipe, Tag("simsiam")]
    | Annotated[BarlowTwinsRecipe, Tag("barlow_twins")]
    | Annotated[VICRegRecipe, Tag("vicreg")],
    Discriminator(_name_of),
]
METHODS: dict[str, type[StrictModel] | None] = {
    **{get_args(one)[1].tag: get_args(one)[0] for one in get_args(get_args(MethodRecipe)[0])},
    "scheduled": ScheduledRecipe,
    "learned": LearnedRecipe,
}
"""What stands in a fault's place to say which method, or which kind of temperature, was taken."""
