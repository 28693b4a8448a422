"""Options of the steps that look for what is said twice, here or in an evaluation."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from hanlin.make.collect.options.step import StepOptions


class Exact(StepOptions):
    """Drop rows that say exactly what an earlier row says; with the input `against`, also what other corpora say."""

    step: Literal["exact"] = "exact"


class Near(StepOptions):
    """Drop rows that say nearly what another row says; with the input `against`, also what other corpora say."""

    step: Literal["near"] = "near"
    threshold: float = Field(
        0.7, gt=0, le=1, description="Jaccard similarity of the n-grams from which two rows are duplicates"
    )
    of: Literal["characters", "words"] = Field(
        "characters",
        description="n-grams of characters (any language, Chinese above all), or of words (languages with blanks). "
        "Case, width, white space and punctuation make no difference to either",
    )
    ngram: int = Field(5, ge=1, le=64, description="characters or words of an n-gram; 3 suits texts of a line or two")
    num_perm: int = Field(
        128, ge=8, le=1024, description="places of a signature, 4 bytes each; powers of two are fastest"
    )
    bands: int | None = Field(
        None,
        ge=1,
        description="parts of a signature of which two rows must share one to be compared. Default: so many that a "
        "pair at the threshold is found with probability 0.95; most pairs of a similarity below "
        "(1/bands)^(bands/num_perm) are never compared",
    )
    keep: Literal["first", "longest"] = Field("first", description="the row of a cluster that stays")
    verify: Literal["estimate", "exact"] = Field(
        "estimate", description="pairs are judged by their signatures, or by all their n-grams (more memory)"
    )

    @model_validator(mode="after")
    def _bands_fit(self) -> Near:
        if self.bands is not None and self.bands > self.num_perm:
            raise ValueError(f"bands={self.bands} are more than num_perm={self.num_perm} places")
        return self


class Lines(StepOptions):
    """Remove lines that many rows have."""

    step: Literal["lines"] = "lines"
    least_chars: int = Field(
        15, ge=1, description="letters and digits that a line must have to be looked at; shorter ones always stay"
    )
    rows: int = Field(3, ge=1, description="a line stays where no more rows than this have it")
    do: Literal["remove", "count"] = Field(
        "remove", description="remove such lines, or only count them (in the row's notes, for the report)"
    )
    keep_first: bool = Field(True, description="whether such a line stays in the first row that has it")
    max_share: float = Field(
        0.7,
        ge=0,
        le=1,
        description="a row is dropped where more than this share of its characters stands in such lines. 1: only "
        "where nothing else is left",
    )


class Spans(StepOptions):
    """Cut out long spans that occur earlier in the corpus."""

    step: Literal["spans"] = "spans"
    least_chars: int = Field(
        50,
        ge=10,
        description="letters and digits of a span: repeated ones of this length are always found. Lee et al. take 50 "
        "tokens of English, about 200 characters; 50 Chinese characters say as much as 30 words",
    )
    sample: int = Field(
        8, ge=1, description="one in about (sample + 1) / 2 positions is remembered; 1 is exact and takes most space"
    )
    max_share: float = Field(
        0.7, ge=0, le=1, description="a row is dropped where more than this share of its characters would be cut out"
    )

    @model_validator(mode="after")
    def _sample_fits(self) -> Spans:
        if self.sample * 2 > self.least_chars:
            raise ValueError(f"sample={self.sample} is more than half of least_chars={self.least_chars}")
        return self


class Decontaminate(StepOptions):
    """Drop rows that hold parts of an evaluation set, or cut the parts out."""

    step: Literal["decontaminate"] = "decontaminate"
    words: int = Field(
        13, ge=2, description="words in a row that must not be shared, in items with blanks between words"
    )
    characters: int = Field(
        20, ge=2, description="characters in a row that must not be shared, in Chinese and the like"
    )
    least_words: int = Field(8, ge=2, description="shorter items with fewer words than this are not looked for")
    least_characters: int = Field(
        12, ge=2, description="shorter items with fewer characters than this are not looked for"
    )
    do: Literal["drop", "cut"] = Field("drop", description="drop the whole row, or cut out what is shared")
    around: int = Field(
        0, ge=0, description="with do=cut: characters that are cut out before and after it too (GPT-3: 200)"
    )
