"""The sections of a recipe that measure: `development`, which chooses, and `evaluation`, which reports."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveInt, model_validator

from textcl.recipe.strict import StrictModel


class DevelopmentRecipe(StrictModel):
    """The `development` section: what chooses, on data that is not reported on."""

    collection: str | None = Field(None, description="BEIR folder")
    split: str = Field("dev", description="which qrels")
    measures: tuple[str, ...] = Field(("ndcg@10",), min_length=1, description="of the collection")
    sts: str | None = Field(None, description="file of graded pairs: sentence1, sentence2, score")
    sts_split: str | None = Field("dev", description="rows whose column `split` has this value; null takes all")
    by: str | None = Field(None, description="the measure that chooses; null takes the first one")
    keep: Literal["best", "last"] = Field("best", description="which step's weights the run leaves")
    patience: PositiveInt | None = Field(None, description="evaluations without a better one before the run ends")
    interpolate: tuple[float, ...] = Field(
        (), description="shares of the trained weights to try, the rest from the encoder as it came"
    )

    @model_validator(mode="after")
    def _can_choose(self) -> DevelopmentRecipe:
        if self.collection is None and self.sts is None:
            if self.by is None:
                raise ValueError("needs a collection, an sts file, or in `by` a measure of the run's health")
            if self.interpolate:
                raise ValueError("interpolate needs a collection or an sts file to choose the share on")
        if self.interpolate and self.by not in (None, "spearman", *self.measures):
            raise ValueError("by chooses the share too, so with interpolate it must be a measure of the data")
        if any(not 0 <= share <= 1 for share in self.interpolate):
            raise ValueError("interpolate: expected shares in [0, 1]")
        return self


class EvaluationRecipe(StrictModel):
    """The `evaluation` section: what is measured before, during and after training."""

    collection: str = Field(description="BEIR folder")
    split: str = Field("test", description="which qrels")
    measures: tuple[str, ...] = Field(("ndcg@10", "recall@100"), min_length=1, description="the first one chooses")
    keep: Literal["best", "last"] = Field("last", description="which step's weights the run leaves")
    allow_missing: bool = Field(False, description="count judged documents that are not in the corpus, do not refuse")
