"""Options of the steps that judge a row: rules, a trained classifier, a model's perplexity."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from hanlin.make.collect.options.step import StepOptions


class Quality(StepOptions):
    """Drop what isn't text written to be read."""

    step: Literal["quality"] = "quality"
    text: Literal["any", "modern", "classical"] = Field(
        "any",
        description="which Chinese to expect: modern (的了是在), classical (之乎者也; needs no punctuation), or any",
    )
    code: bool = Field(
        False, description="whether curly brackets, symbols and short lines are welcome, as they are in source code"
    )
    least_characters: int = Field(10, ge=0, description="characters without white space; shorter rows are dropped")
    least_letters: float = Field(
        0.5, ge=0, le=1, description="share of letters and Han characters; others: digits, signs"
    )
    most_digits: float = Field(0.3, ge=0, le=1, description="share of digits")
    most_symbols: float = Field(0.15, ge=0, le=1, description="share of signs that are no punctuation (#, □, emoji, …)")
    most_broken: float = Field(
        0.02, ge=0, le=1, description="share of characters that no font has, or of sequences as a wrong encoding makes"
    )
    most_addresses: float = Field(0.5, ge=0, le=1, description="share of characters in addresses of web pages")
    most_punctuation: float = Field(0.45, ge=0, le=1, description="share of punctuation")
    least_punctuation: float = Field(
        0.008,
        ge=0,
        le=1,
        description="share of punctuation in texts of 200 characters and more; not for classical text",
    )
    most_without_end: int = Field(
        300,
        ge=1,
        description="characters without a sentence's end or a third line, from which a text is a list of words",
    )
    most_curly_brackets: float = Field(
        0.02, ge=0, le=1, description="share of { and }: what is left of a page's program"
    )
    least_lines_with_end: float = Field(
        0.1,
        ge=0,
        le=1,
        description="share of lines that end in punctuation, where 8 or more are of under 30 characters on average",
    )
    most_short_lines: float = Field(
        0.75, ge=0, le=1, description="share of lines under 12 characters without punctuation, from 8 lines on: menus"
    )
    most_bullets: float = Field(0.9, ge=0, le=1, description="share of lines that begin with a bullet, from 8 lines on")
    most_ellipses: float = Field(0.3, ge=0, le=1, description="share of lines that end in an ellipsis, from 8 lines on")
    most_boilerplate: float = Field(
        0.3,
        ge=0,
        le=1,
        description="share of characters in lines as every web page has them (會員登入, All rights reserved)",
    )
    most_repeated_lines: float = Field(
        0.3, ge=0, le=1, description="share of lines that an earlier one says, from 4 on"
    )
    most_repeated_paragraphs: float = Field(
        0.3, ge=0, le=1, description="share of paragraphs that an earlier one says, from 4 lines on"
    )
    most_top_ngram: float = Field(
        0.35,
        ge=0,
        le=1,
        description="share of characters in the most frequent n-gram (2 to 4 words, 4 to 6 Chinese characters), in "
        "texts of 50 characters and more",
    )
    most_repeated_ngrams: float = Field(
        0.6,
        ge=0,
        le=1,
        description="share of characters in n-grams that stood there before (5 words, 8 Chinese characters)",
    )
    least_common: float = Field(
        0.8,
        ge=0,
        le=1,
        description="share of Han characters that are among the daily ones of Taiwan (5,401) or the mainland (3,755), "
        "in texts of 20 and more",
    )
    least_function: float = Field(
        0.008,
        ge=0,
        le=1,
        description="share of function characters among Han characters, in texts of 100 and more: lists of names and "
        "keywords have few",
    )
    least_stop_words: int = Field(
        2, ge=0, description="different English stop words in an English text of 30 words and more"
    )
    least_word_length: float = Field(2.5, ge=0, description="characters of a mean word, where words have blanks")
    most_word_length: float = Field(20.0, ge=1, description="characters of a mean word, where words have blanks")
    least_words_with_letter: float = Field(
        0.7, ge=0, le=1, description="share of words with a letter, from 10 words on"
    )


class Classifier(StepOptions):
    """Keep rows that look like the good examples."""

    step: Literal["classifier"] = "classifier"
    threshold: float = Field(
        0.5, ge=0, le=1, description="rows with a lower score (0 bad … 1 good) are dropped; 0 only notes the score"
    )
    top_share: float | None = Field(
        None, gt=0, le=1, description="keep this share of the rows instead, those with the corpus's best scores"
    )
    sizes: tuple[int, ...] = Field((1, 2, 3), min_length=1, description="lengths of the n-grams, characters")
    bits: int = Field(18, ge=8, le=24, description="n-grams are hashed into 2^bits buckets; each costs 4 bytes")
    rounds: int = Field(3, ge=1, description="how often each example is learnt from")
    most_characters: int = Field(4000, ge=10, description="characters of a text that are read, from its beginning")
    most_examples: int = Field(20_000, ge=20, description="examples of each kind that are read, from the first on")


class Perplexity(StepOptions):
    """How well the model given as `model` predicts each row."""

    step: Literal["perplexity"] = "perplexity"
    least_bits: float = Field(0.0, ge=0, description="rows with fewer bits per character are dropped as templates")
    most_bits: float | None = Field(
        None, gt=0, description="rows with more bits per character are dropped. Default: none, they are only measured"
    )
    least_percentile: float = Field(
        0.0, ge=0, le=100, description="the corpus's most predictable rows below this percentile (%) are dropped"
    )
    most_percentile: float = Field(
        100.0, ge=0, le=100, description="the corpus's least predictable rows above this percentile (%) are dropped"
    )
    most_characters: int = Field(
        4000, ge=1, description="characters of a row that are read, from its beginning; it is judged by these"
    )
    context: int | None = Field(
        None, ge=2, description="tokens that are read at once. Default: the model's context, at most 1,024"
    )
    device: str = Field("cpu", description="where the model computes: cpu, cuda, mps")
    dtype: Literal["float32", "bfloat16"] = Field(
        "float32", description="what it computes in; bfloat16 is several times as fast where the machine knows it"
    )

    @model_validator(mode="after")
    def _in_order(self) -> Perplexity:
        if self.most_bits is not None and self.most_bits <= self.least_bits:
            raise ValueError(f"most_bits={self.most_bits:g} has to be above least_bits={self.least_bits:g}")
        if self.most_percentile <= self.least_percentile:
            raise ValueError("most_percentile has to be above least_percentile")
        return self
