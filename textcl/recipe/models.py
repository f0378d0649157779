"""What a run is made of: strict models whose defaults are the defaults.

Types, unknown keys and combinations are checked here, and ranges of the loop's numbers. The range of a component's own
setting is checked once, in the component, when `assemble` makes it.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Discriminator, Field, NonNegativeInt, PositiveFloat, PositiveInt, Tag, model_validator

from textcl.recipe.measuring import DevelopmentRecipe, EvaluationRecipe
from textcl.recipe.methods import MethodRecipe, PairsRecipe
from textcl.recipe.strict import StrictModel
from textcl.recipe.views import ViewsRecipe


class Prompts(StrictModel):
    """Text put before queries (the anchors) and before documents (the positives)."""

    query: str = ""
    document: str = ""


class LoraRecipe(StrictModel):
    """Small matrices trained beside the attention's, and put into them at the end."""

    rank: int = Field(8, description="width of the small matrices")
    alpha: float = Field(16.0, description="their product is scaled by alpha / rank")
    dropout: float = Field(0.0, description="chance with which their input drops a unit")
    targets: tuple[str, ...] | None = Field(None, description="names of linear layers; null: query and value")


class EncoderRecipe(StrictModel):
    """The `encoder` section: what is trained."""

    model: str = Field("all-MiniLM-L6-v2", description="folder or hub name")
    pooling: str | None = Field(None, description="mean, cls, last or weighted_mean; null keeps the model's own")
    max_tokens: int | None = Field(None, description="longest input in tokens; null keeps the model's own")
    dropout: float | None = Field(None, description="chance of every dropout layer; null keeps the model's own")
    prompts: Prompts | None = Field(None, description="null keeps the model's own")
    freeze_layers: int | None = Field(None, description="lowest layers that stay, the token embeddings with them")
    lora: LoraRecipe | None = Field(None, description="train small matrices instead of the weights (extra: lora)")

    @model_validator(mode="after")
    def _one_way_to_freeze(self) -> EncoderRecipe:
        if self.lora is not None and self.freeze_layers is not None:
            raise ValueError(
                "freeze_layers and lora exclude each other: lora freezes every weight and trains beside it"
            )
        return self


class Columns(StrictModel):
    """Which columns are the two sides of a pair."""

    anchor: str
    positive: str
    hard_negatives: tuple[str, ...] = Field((), description="columns of texts that are none of the anchor's")


class Source(StrictModel):
    """Texts or pairs, and where they lie."""

    train: str = Field(description="txt, csv, tsv, jsonl or parquet file (.gz too), BEIR folder, or hub:NAME")
    column: str | None = Field(None, description="column of single texts; null takes the only one")
    columns: Columns | None = Field(None, description="columns of pairs, instead of `column`")
    group: str | None = Field(None, description="column of labels: rows with an equal one are never negatives")
    limit: PositiveInt | None = Field(None, description="rows read at most; null reads all")
    stream: PositiveInt | None = Field(
        None, description="rows held in memory at a time and shuffled among each other; null holds all"
    )

    @model_validator(mode="after")
    def _one_shape(self) -> Source:
        if self.column is not None and self.columns is not None:
            raise ValueError("column and columns exclude each other: single texts or pairs")
        return self


class DataRecipe(Source):
    """The `data` section: texts or pairs to train on."""

    near_duplicates: float | None = Field(
        None, description="similarity in (0, 1) from which texts count as equal; null: equal ones alone"
    )

    @property
    def parts(self) -> tuple[Source, ...]:
        """The sources, one."""
        return (self,)


class SourceRecipe(Source):
    """One of several sources."""

    name: str = Field(description="what the journal calls it")
    weight: PositiveFloat | None = Field(None, description="share relative to the others; null: its number of rows")


class MixtureRecipe(StrictModel):
    """The `data` section of a run with several sources."""

    sources: tuple[SourceRecipe, ...] = Field(description="two or more, each with the keys of a `data` section")
    batches: Literal["one_source", "mixed"] = Field("one_source", description="what stands together in a batch")
    near_duplicates: float | None = Field(None, description="as with one source, over the texts of all")

    @property
    def parts(self) -> tuple[Source, ...]:
        """The sources."""
        return self.sources

    @model_validator(mode="after")
    def _fit_together(self) -> MixtureRecipe:
        if len(self.sources) < 2:
            raise ValueError("sources: two or more; the keys of a single one stand in data itself")
        names = [source.name for source in self.sources]
        if len(set(names)) < len(names):
            raise ValueError("sources: each needs a name of its own")
        if 0 < sum(source.weight is None for source in self.sources) < len(self.sources):
            raise ValueError("sources: give all of them a weight, or none")
        return self


def _several(value: Any) -> str:  # noqa: ANN401 (whatever the recipe has there)
    return "several" if isinstance(value, MixtureRecipe) or (isinstance(value, dict) and "sources" in value) else "one"


AnyDataRecipe: TypeAlias = Annotated[
    Annotated[DataRecipe, Tag("one")] | Annotated[MixtureRecipe, Tag("several")], Discriminator(_several)
]
DATA: dict[str, type[StrictModel]] = {"one": DataRecipe, "several": MixtureRecipe}
"""What stands in a fault's place to say which kind of `data` section was taken."""


_BOUNDS = ("first_rank", "last_rank", "margin", "relative_margin", "max_score", "sampling")


class NegativesRecipe(StrictModel):
    """The `negatives` section: hard negatives mined for each pair, from a file or by the encoder in training."""

    file: str | None = Field(None, description="what textcl mine wrote for the same pairs")
    every: PositiveInt | None = Field(None, description="steps between minings with the encoder as it then is")
    documents: str | None = Field(None, description="where they are looked for; null: the positives")
    first_rank: int = Field(1, description="best rank that is taken, from 1")
    last_rank: int = Field(100, description="worst rank that is taken")
    margin: float | None = Field(None, description="least distance below the positive's score")
    relative_margin: float | None = Field(None, description="the same as a share of the positive's score")
    max_score: float | None = Field(None, description="highest score that is taken")
    per_row: int = Field(1, description="negatives a pair")
    sampling: Literal["top", "random"] = Field("top", description="which of those that may be taken")

    @model_validator(mode="after")
    def _says_where_from(self) -> NegativesRecipe:
        if self.file is None and self.every is None:
            raise ValueError("needs a file of mined negatives, or in `every` how often to mine")
        idle = [name for name in _BOUNDS if getattr(self, name) != type(self).model_fields[name].default]
        if self.every is None and idle:
            raise ValueError(f"{', '.join(idle)}: for mining in training; say in `every` how often, or leave out")
        return self


class HealthRecipe(StrictModel):
    """Whether the embeddings collapse, looked at on fixed pairs of the training data; the limits are shares."""

    every: PositiveInt = Field(50, description="steps between looks; one comes before each checkpoint too")
    policy: Literal["warn", "stop", "rollback"] = Field(
        "stop", description="stop: exit code 1; rollback: on from the last checkpoint at half the learning rate"
    )
    probe_pairs: int = Field(256, ge=2, description="pairs that are looked at")
    least_rank: float = Field(0.5, ge=0, le=1, description="of the effective rank at the begin")
    least_spread: float = Field(0.5, ge=0, le=1, description="of the spread of dimensions at the begin")
    least_gap: float = Field(0.25, ge=0, le=1, description="of the begin's gap between pairs and different rows")
    most_cosine: float = Field(0.9, ge=0, le=1, description="mean cosine of different rows")


class TrainingRecipe(StrictModel):
    """The `training` section: numbers of the loop."""

    batch_size: PositiveInt = Field(64, description="pairs of one process at a time")
    unique_batches: bool = Field(False, description="no two rows with an equal text or group in one batch")
    epochs: PositiveFloat = Field(1.0, description="passes over the data; the last may be a part of one")
    max_steps: PositiveInt | None = Field(None, description="optimizer steps at most")
    learning_rate: PositiveFloat = Field(2e-5, description="peak of the schedule")
    schedule: Literal["linear", "cosine", "constant"] = Field("linear", description="what follows the warm-up")
    warmup_fraction: float = Field(0.1, ge=0, le=1, description="share of the steps")
    layer_decay: float | None = Field(None, description="factor of the rate from each layer to the one below it")
    head_rate: float = Field(1.0, description="factor of the rate for heads, whose weights start at random")
    average: float | None = Field(None, description="decay of a moving average of weights, which the run leaves")
    weight_decay: float = Field(0.01, ge=0, description="AdamW's, on matrices")
    clip_norm: PositiveFloat | None = Field(1.0, description="largest gradient norm; null does not clip")
    accumulate_steps: PositiveInt = Field(1, description="batches averaged before a step; adds no negatives")
    chunk_rows: PositiveInt | None = Field(None, description="rows held at a time by the gradient cache; null: all")
    chunk_tokens: PositiveInt | None = Field(
        None, description="tokens held at a time by the gradient cache, instead of chunk_rows; a longer row runs alone"
    )
    workers: NonNegativeInt = Field(0, description="processes that draw views")
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        "auto", description="auto: the fastest on this machine that is safe, measured at the start; fp16: GPUs alone"
    )
    log_every: PositiveInt = Field(10, description="steps between journal lines")
    save_every: PositiveInt | None = Field(200, description="steps between checkpoints; null writes none")
    evaluate_every: PositiveInt | None = Field(None, description="steps between evaluations; null: at the end alone")
    health: HealthRecipe | None = Field(HealthRecipe(), description="null never looks")

    @model_validator(mode="after")
    def _one_kind_of_chunk(self) -> TrainingRecipe:
        if self.chunk_rows is not None and self.chunk_tokens is not None:
            raise ValueError("chunk_rows and chunk_tokens exclude each other: chunks are counted in rows or in tokens")
        return self


class Recipe(StrictModel):
    """A whole run."""

    seed: NonNegativeInt = 0
    encoder: EncoderRecipe = EncoderRecipe()
    data: AnyDataRecipe
    negatives: NegativesRecipe | None = None
    views: ViewsRecipe = ViewsRecipe()
    method: MethodRecipe = PairsRecipe()
    training: TrainingRecipe = TrainingRecipe()
    development: DevelopmentRecipe | None = None
    evaluation: EvaluationRecipe | None = None

    @model_validator(mode="after")
    def _sections_fit(self) -> Recipe:
        if self.views.pair is not None and any(part.columns is not None for part in self.data.parts):
            raise ValueError("views.pair makes a pair from one text, but data.columns names two: remove one of them")
        self._check_data()
        every = self.training.evaluate_every
        if self.evaluation is not None and self.evaluation.keep == "best":
            if self.development is not None:
                raise ValueError("development chooses what is kept, so evaluation.keep must be last")
            if every is None:
                raise ValueError("evaluation.keep is best, so training.evaluate_every must say how often to measure")
        chosen = self.development
        if chosen is not None and every is None and (chosen.keep == "best" or chosen.patience is not None):
            raise ValueError(
                "development chooses among steps, so training.evaluate_every must say how often to measure"
            )
        return self

    def _check_data(self) -> None:
        streams = any(part.stream is not None for part in self.data.parts)
        if streams and self.data.near_duplicates is not None:
            raise ValueError("data.near_duplicates compares all texts, which data.stream does not hold")
        if self.training.unique_batches and streams:
            raise ValueError("training.unique_batches needs all rows at once, which data.stream does not hold")
        if self.training.unique_batches and getattr(self.data, "batches", None) == "mixed":
            raise ValueError("training.unique_batches needs batches of one source: data.batches: one_source")
        if self.training.unique_batches and getattr(self.method, "positives", "own") == "group":
            raise ValueError("training.unique_batches keeps rows of a group apart, which method.positives: group pairs")
        if self.negatives is not None:
            self._check_negatives(streams)

    def _check_negatives(self, streams: bool) -> None:
        if streams or not isinstance(self.data, DataRecipe):
            raise ValueError("negatives are mined for one source of pairs that is held in memory")
        if self.data.columns is None:
            raise ValueError("negatives are mined for pairs: name their columns in data.columns")
        if self.data.columns.hard_negatives:
            raise ValueError("negatives and data.columns.hard_negatives exclude each other")
