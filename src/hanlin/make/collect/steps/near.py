"""Near duplicates: of rows that are nearly the same, one stays. MinHash signatures, bands, clusters of linked rows.

Two rows are near duplicates when their sets of n-grams have a Jaccard similarity of `threshold` or more. `look` makes a
signature of each row; `decide` finds the rows that share a band (minhash.py has the mathematics), keeps the pairs whose
signatures (or, with verify=exact, whose n-grams) are as similar as asked for, and links them to clusters. So a row may
be linked to the kept one through others; its reason names its own similarity to the kept one.

Five characters suit running text of any language: one changed character touches five n-grams. A poem of 56 characters
with one other character has a similarity of 47/57 = 0.82. For texts of a line or two take ngram=3.

Memory: num_perm × 4 bytes a row (128 places: 0.5 GB a million rows) and about 100 bytes a row besides; with
verify=exact, 4
bytes for each different n-gram of the rows that share a band.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import chain

import numpy as np

from hanlin.core.run.events import Emit
from hanlin.core.text.documents import Row
from hanlin.make.collect.options.repetition import Near
from hanlin.make.collect.steps.matching import minhash, others, units
from hanlin.make.collect.steps.matching.names import names_of
from hanlin.make.collect.steps.step import Context, Findings, Survey

CANDIDATE_MARGIN = 0.15
"""With verify=exact, pairs are looked at whose estimate is this much below the threshold: 3.5 standard deviations of
128 places at 0.7."""


def make(options: Near, context: Context) -> NearDuplicates:
    return NearDuplicates(options, context)


def prepare(options: Near, context: Context, emit: Emit) -> None:
    """Signatures of the rows of `against`, in files that stay on the disk until they are needed."""
    if not others.has(context, "against"):
        return
    from hanlin.make.collect.pipeline.shards import in_shards, write_findings

    survey = NearDuplicates(options, context)
    for number, rows in enumerate(in_shards(others.rows_of(context, "against"))):
        write_findings(context.work / f"against-{number:05d}.npz", survey.look(rows))
        emit("progress", done=number + 1, total=number + 1, what="near: against")


class NearDuplicates(Survey):
    def __init__(self, options: Near, context: Context):
        self.options = options
        self.seed = context.seed
        self.work = context.work
        if options.bands:
            self.bands, self.places = options.bands, options.num_perm // options.bands
        else:
            self.bands, self.places = minhash.bands_for(options.threshold, options.num_perm)

    def look(self, rows: list[Row]) -> Findings:
        found = getattr(units, self.options.of)([row.content for row in rows])
        hashes, offsets = units.ngrams(found, self.options.ngram)
        look = {
            "signatures": minhash.signatures(hashes, offsets, self.options.num_perm, self.seed),
            "lengths": found.counts.astype(np.int32),
            "id": np.array([row.id for row in rows], dtype=np.str_),
        }
        return look | (_grams(hashes, offsets) if self.options.verify == "exact" else {})

    def decide(self, looks: Sequence[Findings]) -> Iterator[Findings]:
        """kept: the id of the row that stays in place of this one, "" for one that stays; similarity to it; cluster:
        its number, -1 outside of any; size of the cluster."""
        against = self._against()
        signatures, lengths, num_against = _all_signatures(chain(against, looks), len(against))
        parents = self._clusters(signatures, np.flatnonzero(lengths), lambda: chain(against, looks))
        kept, clusters = _kept(parents, lengths, num_against, self.options.keep)
        sizes = np.bincount(parents, minlength=len(parents))[parents]
        similarity = np.ones(len(parents), np.float32)
        dropped = np.flatnonzero(kept != np.arange(len(parents)))
        similarity[dropped] = minhash.estimate(signatures, dropped, kept[dropped])
        del signatures
        names = names_of(chain(against, looks), np.unique(kept[dropped]))
        place = num_against
        for look in looks:
            here = slice(place, place + len(look["lengths"]))
            place = here.stop
            own = range(here.start, here.stop)
            yield {
                "kept": np.array([names[k] if k != i else "" for i, k in zip(own, kept[here].tolist())], dtype=np.str_),
                "similarity": similarity[here],
                "cluster": clusters[here],
                "size": sizes[here].astype(np.int32),
            }

    def apply(self, rows: list[Row], verdict: Findings) -> Iterable[Row]:
        columns = (verdict[name].tolist() for name in ("kept", "similarity", "cluster", "size"))
        for row, kept, similarity, cluster, size in zip(rows, *columns, strict=True):
            if size > 1:
                notes = {"cluster": cluster, "size": size} | ({"similarity": round(similarity, 2)} if kept else {})
                row = replace(row, notes={**row.notes, "near": notes})
            yield replace(row, reason=f"near duplicate: {kept} ({similarity:.2f})") if kept else row

    def _against(self) -> Sequence[Findings]:
        from hanlin.make.collect.pipeline.shards import Looks

        return Looks(sorted(self.work.glob("against-*.npz")))

    def _clusters(self, signatures, usable, looks) -> np.ndarray:
        """For each row the first row of its cluster."""
        parents = np.arange(len(signatures))
        if not len(usable):
            return parents
        exact = self.options.verify == "exact"
        threshold = self.options.threshold - (CANDIDATE_MARGIN if exact else 0)
        candidates = []
        for band in range(self.bands):
            for a, b in minhash.band_pairs(signatures, band, self.places, usable):
                apart = parents[a] != parents[b]
                a, b = a[apart], b[apart]
                similar = minhash.estimate(signatures, a, b) >= threshold
                a, b = a[similar], b[similar]
                if exact:
                    candidates.append(np.stack([a, b]))
                else:
                    minhash.unite(parents, a, b)
        if exact and candidates:
            pairs = np.unique(np.concatenate(candidates, axis=1), axis=1)
            minhash.unite(parents, *pairs[:, _exact_similarity(pairs, looks()) >= self.options.threshold])
        return parents


def _grams(hashes: np.ndarray, offsets: np.ndarray) -> Findings:
    """The different n-grams of each row as 32-bit hashes."""
    sets = [np.unique(hashes[a:b].astype(np.uint32)) for a, b in zip(offsets[:-1].tolist(), offsets[1:].tolist())]
    return {
        "grams": np.concatenate(sets) if sets else np.empty(0, np.uint32),
        "num_grams": np.array(list(map(len, sets)), np.int32),
    }


def _all_signatures(looks: Iterable[Findings], num_against: int) -> tuple[np.ndarray, np.ndarray, int]:
    """Signatures and lengths of all rows in one array each, and how many rows the first `num_against` looks have."""
    parts, lengths = [], []
    for look in looks:
        parts.append(look["signatures"])
        lengths.append(look["lengths"])
    counts = np.cumsum([0, *map(len, parts)])
    signatures = np.empty((counts[-1], parts[0].shape[1] if parts else 0), np.uint32)
    for number, begin in enumerate(counts[:-1]):
        signatures[begin : counts[number + 1]] = parts[number]
        parts[number] = parts[number][:0].copy()
    return signatures, np.concatenate([*lengths, np.empty(0, np.int32)]), int(counts[num_against])


def _kept(parents: np.ndarray, lengths: np.ndarray, num_against: int, keep: str) -> tuple[np.ndarray, np.ndarray]:
    """For each row the row that stays in its cluster (a row of `against` before all), and its cluster's number."""
    kept = parents.copy()
    if keep == "longest":
        order = np.lexsort((np.arange(len(parents)), -lengths, parents))
        first = np.ones(len(order), bool)
        first[1:] = parents[order][1:] != parents[order][:-1]
        longest = np.empty(len(parents), np.int64)
        longest[parents[order[first]]] = order[first]
        kept = np.where(parents >= num_against, longest[parents], parents)
    clusters = np.full(len(parents), -1)
    shared = np.bincount(parents, minlength=len(parents))[parents] > 1
    clusters[shared] = np.unique(parents[shared], return_inverse=True)[1]
    return kept, clusters


def _exact_similarity(pairs: np.ndarray, looks: Iterable[Findings]) -> np.ndarray:
    """The Jaccard similarity of the n-grams of the rows pairs[0, i] and pairs[1, i]."""
    wanted = np.unique(pairs)
    sets: dict[int, np.ndarray] = {}
    place = 0
    for look in looks:
        ends = np.cumsum(look["num_grams"])
        for row in wanted[np.searchsorted(wanted, place) : np.searchsorted(wanted, place + len(ends))].tolist():
            end = ends[row - place]
            sets[row] = look["grams"][end - look["num_grams"][row - place] : end].copy()
        place += len(ends)
    found = np.empty(pairs.shape[1])
    for number, (a, b) in enumerate(pairs.T.tolist()):
        common = len(np.intersect1d(sets[a], sets[b], assume_unique=True))
        found[number] = common / (len(sets[a]) + len(sets[b]) - common)
    return found
