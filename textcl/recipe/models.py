"""What a run is made of: strict models whose defaults are the defaults.

Types, unknown keys and combinations are checked here, and ranges of the loop's numbers. The range of a component's own
setting is checked once, in the component, when `assemble` makes it.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from textcl.recipe.strict import StrictModel
from textcl.recipe.views import ViewsRecipe


class Prompts(StrictModel):
    """Text put before queries (the anchors) and before documents (the positives)."""

    query: str = ""
    document: str = ""


class EncoderRecipe(StrictModel):
    """The `encoder` section: what is trained."""

    model: str = Field("all-MiniLM-L6-v2", description="folder or hub name")
    pooling: str | None = Field(None, description="mean, cls, last or weighted_mean; null keeps the model's own")
    max_tokens: int | None = Field(None, description="longest input in tokens; null keeps the model's own")
    dropout: float | None = Field(None, description="chance of every dropout layer; null keeps the model's own")
    prompts: Prompts | None = Field(None, description="null keeps the model's own")


class Columns(StrictModel):
    """Which columns are the two sides of a pair."""

    anchor: str
    positive: str


class DataRecipe(StrictModel):
    """The `data` section: texts or pairs to train on."""

    train: str = Field(description="txt, csv, tsv, jsonl or parquet file (.gz too), BEIR folder, or hub:NAME")
    column: str | None = Field(None, description="column of single texts; null takes the only one")
    columns: Columns | None = Field(None, description="columns of pairs, instead of `column`")
    group: str | None = Field(None, description="column of labels: rows with an equal one are never negatives")
    limit: PositiveInt | None = Field(None, description="rows read at most; null reads all")

    @model_validator(mode="after")
    def _one_shape(self) -> DataRecipe:
        if self.column is not None and self.columns is not None:
            raise ValueError("column and columns exclude each other: single texts or pairs")
        return self


class ProjectorRecipe(StrictModel):
    """A head between embedding and loss, dropped after training."""

    hidden: int = Field(description="width of its hidden layer")
    out: int = Field(description="width that the loss sees")


class SimCLRRecipe(StrictModel):
    """The `method` section of a recipe whose name is simclr."""

    name: Literal["simclr"] = "simclr"
    temperature: float = Field(0.05, description="divisor of similarities")
    symmetric: bool = Field(True, description="positives look for their anchors too")
    same_side: bool = Field(False, description="rows of the same side are negatives too (NT-Xent)")
    projector: ProjectorRecipe | None = None


class TrainingRecipe(StrictModel):
    """The `training` section: numbers of the loop."""

    batch_size: PositiveInt = Field(64, description="pairs of one process at a time")
    epochs: PositiveFloat = Field(1.0, description="passes over the data; the last may be a part of one")
    max_steps: PositiveInt | None = Field(None, description="optimizer steps at most")
    learning_rate: PositiveFloat = Field(2e-5, description="peak of the schedule")
    schedule: Literal["linear", "cosine", "constant"] = Field("linear", description="what follows the warm-up")
    warmup_fraction: float = Field(0.1, ge=0, le=1, description="share of the steps")
    weight_decay: float = Field(0.01, ge=0, description="AdamW's, on matrices")
    clip_norm: PositiveFloat | None = Field(1.0, description="largest gradient norm; null does not clip")
    accumulate_steps: PositiveInt = Field(1, description="batches averaged before a step; adds no negatives")
    chunk_rows: PositiveInt | None = Field(None, description="rows held by the gradient cache; null turns it off")
    workers: NonNegativeInt = Field(0, description="processes that draw views")
    precision: Literal["auto", "fp32", "bf16"] = Field("auto", description="auto: bf16 on a GPU, fp32 on a CPU")
    log_every: PositiveInt = Field(10, description="steps between journal lines")
    save_every: PositiveInt | None = Field(200, description="steps between checkpoints; null writes none")
    evaluate_every: PositiveInt | None = Field(None, description="steps between evaluations; null: at the end alone")


class EvaluationRecipe(StrictModel):
    """The `evaluation` section: what is measured before, during and after training."""

    collection: str = Field(description="BEIR folder")
    split: str = Field("test", description="which qrels")
    measures: tuple[str, ...] = Field(("ndcg@10", "recall@100"), min_length=1, description="the first one chooses")
    keep: Literal["best", "last"] = Field("last", description="which step's weights the run leaves")
    allow_missing: bool = Field(False, description="count judged documents that are not in the corpus, do not refuse")


class Recipe(StrictModel):
    """A whole run."""

    seed: NonNegativeInt = 0
    encoder: EncoderRecipe = EncoderRecipe()
    data: DataRecipe
    views: ViewsRecipe = ViewsRecipe()
    method: SimCLRRecipe = SimCLRRecipe()
    training: TrainingRecipe = TrainingRecipe()
    evaluation: EvaluationRecipe | None = None

    @model_validator(mode="after")
    def _sections_fit(self) -> Recipe:
        if self.views.pair is not None and self.data.columns is not None:
            raise ValueError("views.pair makes a pair from one text, but data.columns names two: remove one of them")
        if self.evaluation is not None and self.evaluation.keep == "best" and self.training.evaluate_every is None:
            raise ValueError("evaluation.keep is best, so training.evaluate_every must say how often to measure")
        return self
