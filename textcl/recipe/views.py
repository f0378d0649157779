"""The `views` section of a recipe: what happens to each side of a pair."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias, get_args

from pydantic import Discriminator, Field, PositiveInt, Tag

from textcl.recipe.strict import StrictModel


class RampRecipe(StrictModel):
    """A strength that moves in a straight line while training goes on."""

    start: float = Field(description="at the first step")
    end: float = Field(description="from `until` on")
    until: float = Field(1.0, description="share of the training after which `end` is reached")


def _shape_of(value: Any) -> str:  # noqa: ANN401 (whatever the recipe has there)
    return "ramp" if isinstance(value, dict | RampRecipe) else "number"


StrengthRecipe: TypeAlias = Annotated[
    Annotated[float, Tag("number")] | Annotated[RampRecipe, Tag("ramp")], Discriminator(_shape_of)
]


class DropoutView(StrictModel):
    """The text as it is."""

    name: Literal["dropout"]


class MaskView(StrictModel):
    """Tokens behind the mask token."""

    name: Literal["mask"]
    rate: StrengthRecipe = Field(0.15, description="chance of each token")
    random_fraction: float = Field(0.0, description="share of the chosen that become random tokens; BERT has 0.1")
    kept_fraction: float = Field(0.0, description="share of the chosen that stay; BERT has 0.1")
    whole_words: bool = Field(False, description="choose words with all their tokens")


class SpanMaskView(StrictModel):
    """Runs of tokens behind the mask token."""

    name: Literal["span_mask"]
    rate: StrengthRecipe = Field(0.15, description="share of the tokens")
    mean_span: float = Field(5.0, description="mean length in tokens, before it is cut at max_span")
    max_span: int = Field(10, description="longest run in tokens")


class ReplaceView(StrictModel):
    """Random tokens in the place of some."""

    name: Literal["replace"]
    rate: StrengthRecipe = Field(0.1, description="chance of each token")
    whole_words: bool = Field(False, description="replace all tokens of a word or none")


class CutoffView(StrictModel):
    """A fixed share of the tokens blanked out."""

    name: Literal["cutoff"]
    rate: StrengthRecipe = Field(0.15, description="share of the tokens")


class DeleteView(StrictModel):
    """Tokens removed."""

    name: Literal["delete"]
    rate: StrengthRecipe = Field(0.1, description="chance of each token")
    whole_words: bool = Field(False, description="remove words with all their tokens")


class ShuffleView(StrictModel):
    """Tokens moved about a little."""

    name: Literal["shuffle"]
    distance: StrengthRecipe = Field(3.0, description="farthest move, in tokens or words")
    whole_words: bool = Field(False, description="move words with all their tokens")


class RepeatView(StrictModel):
    """Some tokens twice (ESimCSE)."""

    name: Literal["repeat"]
    max_fraction: StrengthRecipe = Field(0.32, description="largest share of the tokens or words")
    whole_words: bool = Field(False, description="repeat words with all their tokens")


class CropView(StrictModel):
    """One random span."""

    name: Literal["crop"]
    min_fraction: StrengthRecipe = Field(0.05, description="shortest span, share of the text")
    max_fraction: StrengthRecipe = Field(0.5, description="longest span, share of the text")


class WordDeleteView(StrictModel):
    """Words left out, before the text is tokenised."""

    name: Literal["word_delete"]
    rate: StrengthRecipe = Field(0.1, description="chance of each word")


class WordOrderView(StrictModel):
    """Words moved about a little, before the text is tokenised."""

    name: Literal["word_order"]
    distance: StrengthRecipe = Field(3.0, description="farthest move in words")


class TyposView(StrictModel):
    """Letters mistyped."""

    name: Literal["typos"]
    rate: StrengthRecipe = Field(0.02, description="chance of each letter or digit")


class LetterCaseView(StrictModel):
    """The whole text in another letter case."""

    name: Literal["letter_case"]
    rate: StrengthRecipe = Field(0.5, description="chance of each text")
    cases: tuple[str, ...] = Field(("lower", "upper", "title"), description="which are drawn")


class KeywordsView(StrictModel):
    """A few salient words, as a searcher would type them."""

    name: Literal["keywords"]
    min_words: int = Field(2, description="fewest words")
    max_words: int = Field(6, description="most words")
    sharpness: float = Field(4.0, description="0 draws all words evenly; the higher, the surer the rarest are taken")


class StoredViewRecipe(StrictModel):
    """What every stored view has: `textcl views build RECIPE` writes it once."""

    min_similarity: float | None = Field(
        None, ge=-1, le=1, description="variants whose cosine with the text is lower are dropped; null keeps all"
    )
    otherwise: tuple[ViewRecipe, ...] = Field(
        (), description="for texts of which no variant is left; nothing: the text as it is"
    )


class ApertiumRecipe(StrictModel):
    """Translation by rules and dictionaries, offline; one variant a text."""

    name: Literal["apertium"]
    source: str = Field("eng", description="language of the texts, as Apertium's pair spells it")
    pivot: str = Field("spa", description="language to go through")


class SequenceSettings(StrictModel):
    """How an encoder-decoder model writes."""

    precision: Literal["fp32", "bf16"] = "fp32"
    beams: PositiveInt = Field(1, description="beams of the search; with several, the best are the variants")
    sampling: bool = Field(False, description="draw from the model instead of searching")
    temperature: float = Field(1.0, description="divisor of the scores while sampling")
    top_k: int = Field(0, description="sample from the k likeliest tokens; 0 from all")
    top_p: float = Field(1.0, description="sample from the likeliest tokens of this mass; 1 from all")
    max_tokens: int = Field(128, description="longest input, and longest output, in tokens")
    batch_tokens: PositiveInt = Field(4096, description="padded tokens run at a time; decides speed alone")


class MarianRecipe(SequenceSettings):
    """Translation by two Hugging Face models."""

    name: Literal["marian"]
    there: str = Field("Helsinki-NLP/opus-mt-en-de", description="folder or hub name, into the pivot")
    back: str = Field("Helsinki-NLP/opus-mt-de-en", description="folder or hub name, home again")


class BackTranslateView(StoredViewRecipe):
    """There and back through another language."""

    name: Literal["back_translate"]
    translator: Annotated[ApertiumRecipe | MarianRecipe, Field(discriminator="name")]
    variants: PositiveInt = Field(1, description="different translations of a text that are tried")


class GenerateView(StoredViewRecipe, SequenceSettings):
    """What an encoder-decoder model writes of the text: queries, paraphrases."""

    name: Literal["generate"]
    model: str = Field(description="folder or hub name")
    prompt: str = Field("", description="stands before each text")
    variants: PositiveInt = Field(1, description="different outputs of a text that are tried")


class ChainView(StrictModel):
    """One view after the other."""

    name: Literal["chain"]
    of: tuple[ViewRecipe, ...] = Field(description="the views, in order")


class ChoiceView(StrictModel):
    """One of several views for each text."""

    name: Literal["choice"]
    of: tuple[ViewRecipe, ...] = Field(description="the views")
    weights: tuple[float, ...] | None = Field(None, description="how often each is taken; null: equally often")


ViewRecipe: TypeAlias = Annotated[
    DropoutView
    | MaskView
    | SpanMaskView
    | ReplaceView
    | CutoffView
    | DeleteView
    | ShuffleView
    | RepeatView
    | CropView
    | WordDeleteView
    | WordOrderView
    | TyposView
    | LetterCaseView
    | KeywordsView
    | BackTranslateView
    | GenerateView
    | ChainView
    | ChoiceView,
    Field(discriminator="name"),
]


class InverseClozeView(StrictModel):
    """One sentence against the rest."""

    name: Literal["inverse_cloze"]
    keep_rate: float = Field(0.1, description="chance that the sentence stays in the rest")


class NeighboursView(StrictModel):
    """One sentence against one that stands near it."""

    name: Literal["neighbours"]
    distance: int = Field(1, description="how far apart they may stand, in sentences")


PairViewRecipe: TypeAlias = Annotated[InverseClozeView | NeighboursView, Field(discriminator="name")]


class ViewsRecipe(StrictModel):
    """The `views` section: what happens to each side of a pair, link after link."""

    pair: PairViewRecipe | None = Field(None, description="one draw makes both sides from a single text")
    first: tuple[ViewRecipe, ...] = ()
    second: tuple[ViewRecipe, ...] = ()
    store: str | None = Field(None, description="folder of stored views; null: one in the cache of `datasets`")
    judge: str | None = Field(None, description="encoder behind min_similarity; null: encoder.model as it comes")


_NAMED: tuple[type[StrictModel], ...] = (
    *get_args(get_args(ViewRecipe)[0]),
    *get_args(get_args(PairViewRecipe)[0]),
    ApertiumRecipe,
    MarianRecipe,
)
TAGGED_MODELS: dict[str, type[StrictModel] | None] = {
    **{get_args(one.model_fields["name"].annotation)[0]: one for one in _NAMED},
    "ramp": RampRecipe,
    "number": None,
}
"""What stands in a fault's place, behind a field that takes several models, to say which one was taken."""
