"""The sections of a recipe that measure: `development`, which chooses, and `evaluation`, which reports."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveInt, model_validator

from textcl.recipe.strict import StrictModel


class JudgedPairsRecipe(StrictModel):
    """Pairs of texts with a label of 0 or 1; measures pairs/average_precision, pairs/f1, pairs/accuracy."""

    data: str = Field(description="file with a pair a row")
    columns: tuple[str, str, str] = Field(
        ("sentence1", "sentence2", "label"), description="the two texts and the label"
    )
    split: str | None = Field(None, description="rows whose column `split` has this value; null takes all")


class ProbeRecipe(StrictModel):
    """Labels found by a linear classifier; measures probe/accuracy, probe/macro_f1."""

    data: str = Field(description="file with a text and its label a row")
    columns: tuple[str, str] = Field(("text", "label"), description="the text and its label")
    test_split: str | None = Field(None, description="tests on rows of this split; null draws random splits")


class ClustersRecipe(StrictModel):
    """Labels found by k-means; measures clusters/v_measure, clusters/homogeneity, clusters/completeness."""

    data: str = Field(description="file with a text and its label a row")
    columns: tuple[str, str] = Field(("text", "label"), description="the text and its label")
    split: str | None = Field(None, description="rows whose column `split` has this value; null takes all")


class AnomaliesRecipe(StrictModel):
    """Texts that do not belong; measures anomalies/auroc, anomalies/average_precision."""

    data: str = Field(description="file with a text a row and a label, 1 for what does not belong")
    reference: str = Field(description="file of texts that belong, or BEIR folder")
    columns: tuple[str, str] = Field(("text", "label"), description="the text and its label")


class ParaphrasesRecipe(StrictModel):
    """Known pairs found among all; measures paraphrases/average_precision, paraphrases/f1."""

    data: str = Field(description="file with a text a row, or BEIR folder")
    duplicates: str = Field(description="file of known pairs, columns id1 and id2")
    column: str | None = Field(None, description="column of the texts; null takes text or the only one")


class GeometryRecipe(StrictModel):
    """How embeddings lie; measures geometry/uniformity, geometry/effective_rank and what else the command prints."""

    data: str = Field(description="file with a text a row, or BEIR folder")
    column: str | None = Field(None, description="column of the texts; null takes text or the only one")
    partner: str | None = Field(None, description="column of texts that mean the same, for geometry/alignment")


USES = ("pairs", "probe", "clusters", "anomalies", "paraphrases", "geometry")


class DevelopmentRecipe(StrictModel):
    """The `development` section: what chooses, on data that is not reported on."""

    collection: str | None = Field(None, description="BEIR folder")
    split: str = Field("dev", description="which qrels")
    measures: tuple[str, ...] = Field(("ndcg@10",), min_length=1, description="of the collection")
    sts: str | None = Field(None, description="file of graded pairs: sentence1, sentence2, score")
    sts_split: str | None = Field("dev", description="rows whose column `split` has this value; null takes all")
    pairs: JudgedPairsRecipe | None = None
    probe: ProbeRecipe | None = None
    clusters: ClustersRecipe | None = None
    anomalies: AnomaliesRecipe | None = None
    paraphrases: ParaphrasesRecipe | None = None
    geometry: GeometryRecipe | None = None
    most: int | None = Field(
        20_000, ge=100, description="texts each of these embeds at most, drawn at random, always the same; null: all"
    )
    by: str | None = Field(None, description="the measure that chooses; null takes the first one")
    keep: Literal["best", "last"] = Field("best", description="which step's weights the run leaves")
    patience: PositiveInt | None = Field(None, description="evaluations without a better one before the run ends")
    interpolate: tuple[float, ...] = Field(
        (), description="shares of the trained weights to try, the rest from the encoder as it came"
    )

    @model_validator(mode="after")
    def _can_choose(self) -> DevelopmentRecipe:
        data = [self.collection, self.sts, *(getattr(self, name) for name in USES)]
        if not any(one is not None for one in data):
            kinds = f"a collection, an sts file, one of {', '.join(USES)}"
            if self.by is None:
                raise ValueError(f"needs {kinds}, or in `by` a measure of the run's health")
            if self.interpolate:
                raise ValueError(f"interpolate needs {kinds} to choose the share on")
        if self.interpolate and self.by is not None and "/" not in self.by:
            if self.by not in ("spearman", *self.measures):
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
